#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>

#include "base/bounded_queue.h"
#include "base/files.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/prefix_hash.h"
#include "base/rng.h"
#include "base/status.h"
#include "base/thread_team.h"

namespace sluice {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return invalid("odd", "n");
  return n / 2;
}

Result<int> quarter(int n) {
  SLUICE_ASSIGN_OR_RETURN(const int h, half(n));
  SLUICE_ASSIGN_OR_RETURN(const int q, half(h));
  return q;
}

TEST(Status, PropagatesThroughMacros) {
  EXPECT_EQ(*quarter(8), 2);
  const auto bad = quarter(6);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message(), "odd");
  EXPECT_EQ(bad.error().param(), "n");
  EXPECT_EQ(bad.error().at("while halving").message(), "while halving: odd");
  EXPECT_EQ(http_status(bad.error().code()), 400);
}

TEST(Philox, MatchesThePublishedVectors) {
  // Known-answer vectors of Random123 for philox4x32-10.
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Philox, DrawsDependOnSeedIndexAndLaneOnly) {
  EXPECT_EQ(philox_uniform(7, 3), philox_uniform(7, 3));
  EXPECT_NE(philox_uniform(7, 3), philox_uniform(7, 4));
  EXPECT_NE(philox_uniform(7, 3), philox_uniform(8, 3));
  EXPECT_NE(philox_uniform(7, 3, 0), philox_uniform(7, 3, 1));
}

TEST(Json, RefusesWhatIsAmbiguousOrTooMuch) {
  EXPECT_TRUE(parse_json(R"({"a":[1,2.5,"x",null,true]})"));
  for (const char* bad : {"", "{", "[1,]", "{\"a\":1} x", "NaN", "[1e999]", "\"\xff\"",
                          R"({"model":"a","model":"b"})", "// c\n1", "'x'", "[\"\\ud800\"]"}) {
    EXPECT_FALSE(parse_json(bad)) << bad;
  }
  EXPECT_FALSE(parse_json(std::string(100'000, '[')));
  EXPECT_FALSE(parse_json("[1,2,3]", {.max_nodes = 3}));
  EXPECT_FALSE(parse_json("[1,2,3]", {.max_bytes = 3}));
  EXPECT_NE(parse_json(R"({"model":"a","model":"b"})").error().message().find("model"),
            std::string::npos);
}

TEST(Json, RoundTripsValues) {
  const std::string text = R"({"a":[1,2.5,"x\n",null,true],"b":{"c":18446744073709551615}})";
  EXPECT_EQ(to_json(*parse_json(text)),
            R"({"a":[1,2.5E0,"x\n",null,true],"b":{"c":18446744073709551615}})");
}

TEST(BoundedQueue, RefusesWhenFullAndDrainsAfterClose) {
  BoundedQueue<int> queue(2);
  int a = 1, b = 2, c = 3;
  EXPECT_TRUE(queue.try_push(a));
  EXPECT_TRUE(queue.try_push(b));
  EXPECT_FALSE(queue.try_push(c));
  queue.close();
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_EQ(queue.pop(), 2);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(ThreadTeam, RunsEveryMemberAndEveryChunkOnce) {
  for (const int threads : {1, 2, 3}) {
    ThreadTeam team(threads);
    for (int round = 0; round < 200; ++round) {
      std::atomic<int> mask{0};
      team.run([&](int member) { mask |= 1 << member; });
      ASSERT_EQ(mask, (1 << threads) - 1);
      std::vector<std::atomic<int>> hits(103);
      team.parallel_for(103, 10, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
      });
      for (const auto& hit : hits) ASSERT_EQ(hit, 1);
    }
  }
}

TEST(ThreadTeam, SharedByTwoCallers) {
  ThreadTeam team(2);
  std::atomic<int> total{0};
  const auto call = [&] {
    for (int i = 0; i < 500; ++i) team.run([&](int) { ++total; });
  };
  {
    const std::jthread other(call);
    call();
  }
  EXPECT_EQ(total, 2000);
}

TEST(PrefixHash, DependsOnSaltOrderAndContent) {
  const std::vector<int32_t> a = {1, 2}, b = {2, 1};
  const PrefixHash x = prefix_salt("x");
  EXPECT_EQ(extend_prefix(x, a), extend_prefix(x, a));
  EXPECT_NE(extend_prefix(x, a), extend_prefix(x, b));
  EXPECT_NE(extend_prefix(x, a), extend_prefix(prefix_salt("y"), a));
  EXPECT_NE(extend_prefix(extend_prefix(x, a), b), extend_prefix(extend_prefix(x, b), a));
}

TEST(Files, WritesAtomicallyAndRefusesLargeFiles) {
  const auto path = std::filesystem::temp_directory_path() / new_id("sluice-test-");
  ASSERT_TRUE(write_file_atomically(path, "hello"));
  ASSERT_TRUE(write_file_atomically(path, "hello again"));
  EXPECT_EQ(*read_file(path, 100), "hello again");
  EXPECT_EQ(read_file(path, 3).error().code(), Code::kTooLarge);
  std::filesystem::remove(path);
  EXPECT_EQ(read_file(path, 3).error().code(), Code::kNotFound);
}

TEST(Files, AnAtomicFileAppearsWholeOrNotAtAll) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / new_id("sluice-test-");
  fs::create_directory(folder);
  const auto files = [&] {
    return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
  };
  {
    auto given_up = AtomicFile::create(folder / "a");
    ASSERT_TRUE(given_up);
    ASSERT_TRUE(given_up->write("half"));
    EXPECT_FALSE(fs::exists(folder / "a"));
  }
  EXPECT_EQ(files(), 0) << "what was given up leaves nothing";
  auto first = AtomicFile::create(folder / "a");
  auto second = AtomicFile::create(folder / "a");
  ASSERT_TRUE(first && second) << "two writers do not meet";
  EXPECT_FALSE(first->reserve(uint64_t{1} << 62)) << "no disk has that much";
  ASSERT_TRUE(first->reserve(1000) && first->write("one") && second->write("two"));
  ASSERT_TRUE(first->commit());
  EXPECT_EQ(*read_file(folder / "a", 100), "one");
  ASSERT_TRUE(second->commit());
  EXPECT_EQ(*read_file(folder / "a", 100), "two");
  EXPECT_EQ(files(), 1);
  EXPECT_FALSE(AtomicFile::create(folder / "missing" / "a"));
  fs::remove_all(folder);
}

TEST(Ids, Differ) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(new_id("x-"));
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(Log, ParsesLevels) {
  EXPECT_EQ(*parse_log_level("warn"), LogLevel::kWarn);
  EXPECT_FALSE(parse_log_level("loud"));
}

}  // namespace
}  // namespace sluice
