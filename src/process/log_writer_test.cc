#include "process/log_writer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "base/rng.h"
#include "process/folder.h"
#include "process/test_processes.h"

namespace sluice::process {
namespace {

using namespace std::chrono_literals;
using testing::TestFolder;
using testing::text_of;

constexpr TimePoint kBegin{};
constexpr LogLimits kWide{.file_bytes = 4096,
                          .files = 100,
                          .bytes_per_second = uint64_t{1} << 40,
                          .burst_bytes = uint64_t{1} << 40};

// Of the files from the oldest on.
std::string all_of(const std::filesystem::path& folder, int files) {
  std::string out;
  for (int age = files; age >= 0; --age) out += text_of(log_path(folder, age));
  return out;
}

TEST(LogWriter, LosesAndCutsNoLineAtRotation) {
  const TestFolder folder;
  LogWriter log(folder.path(), kWide, kBegin);
  Rng rng(7);
  std::string all;
  for (int i = 0; i < 4000; ++i) {
    all += fmt::format("{} {}\n", i, std::string(static_cast<size_t>(rng.below(90)), 'x'));
  }
  for (size_t at = 0; at < all.size();) {
    const auto part = std::min<size_t>(1 + rng.below(700), all.size() - at);
    log.write(std::string_view(all).substr(at, part), kBegin);
    at += part;
  }
  log.finish();
  EXPECT_EQ(all_of(folder.path(), 100), all);
  EXPECT_GT(text_of(log_path(folder.path(), 20)).size(), 4000u);
  for (int age = 0; age <= 100; ++age) {
    const std::string text = text_of(log_path(folder.path(), age));
    EXPECT_LT(text.size(), 4096u + 100u);
    EXPECT_TRUE(text.empty() || text.back() == '\n') << age;
  }
}

TEST(LogWriter, KeepsSoManyFiles) {
  const TestFolder folder;
  LogLimits limits = kWide;
  limits.files = 2;
  LogWriter log(folder.path(), limits, kBegin);
  for (int i = 0; i < 10'000; ++i) log.write(fmt::format("line {}\n", i), kBegin);
  EXPECT_FALSE(std::filesystem::exists(log_path(folder.path(), 3)));
  const std::string kept = all_of(folder.path(), 2);
  EXPECT_TRUE(kept.ends_with("line 9999\n"));
  EXPECT_LE(kept.size(), 3u * 4200);
  // One file only.
  const TestFolder other;
  limits.files = 0;
  LogWriter single(other.path(), limits, kBegin);
  for (int i = 0; i < 10'000; ++i) single.write(fmt::format("line {}\n", i), kBegin);
  EXPECT_FALSE(std::filesystem::exists(log_path(other.path(), 1)));
  EXPECT_LE(text_of(log_path(other.path(), 0)).size(), 4200u);
}

TEST(LogWriter, ALineWithoutEndIsBounded) {
  const TestFolder folder;
  LogLimits limits = kWide;
  limits.files = 1;
  LogWriter log(folder.path(), limits, kBegin);
  for (int i = 0; i < 1000; ++i) log.write(std::string(1000, 'x'), kBegin);
  EXPECT_LE(all_of(folder.path(), 1).size(), 2 * (4096 + kMaxLogLine + 1000));
}

TEST(LogWriter, AFloodLosesWholeLinesWhichAreCounted) {
  const TestFolder folder;
  LogWriter log(folder.path(),
                {.file_bytes = 1u << 20, .files = 1, .bytes_per_second = 1000, .burst_bytes = 5000},
                kBegin);
  TimePoint now = kBegin;
  uint64_t written = 0;
  for (int i = 0; i < 2000; ++i) {
    log.write(fmt::format("line {:04} of a flood\n", i), now);
    now += 1ms;  // 21 bytes each: 21 times the rate
    ++written;
  }
  now += 60s;
  log.write("after it\n", now);
  log.finish();
  const std::string text = text_of(log_path(folder.path(), 0));
  uint64_t kept = 0;
  uint64_t told = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + 1);
    if (line.starts_with("line ")) {
      EXPECT_EQ(line.size(), 20u) << line;
      ++kept;
    } else if (line.starts_with("sluice keep: ")) {
      told += std::stoull(std::string(line.substr(13)));
    }
  }
  EXPECT_EQ(kept + told, written);
  EXPECT_EQ(told, log.dropped_lines());
  EXPECT_GT(told, 1500u);
  EXPECT_GE(kept, 5000u / 21);
  EXPECT_TRUE(text.ends_with("after it\n"));
  EXPECT_LE(std::ranges::count(text, ':'), 4);  // few gaps
}

TEST(LogWriter, KnowsTheLastOfWhatCame) {
  const TestFolder folder;
  LogWriter log(folder.path(),
                {.file_bytes = 1u << 20, .files = 1, .bytes_per_second = 1, .burst_bytes = 4096},
                kBegin);
  for (int i = 0; i < 5000; ++i) log.write(fmt::format("line {}\n", i), kBegin);
  EXPECT_TRUE(log.tail().ends_with("line 4999\n"));
  EXPECT_LE(log.tail().size(), kMaxMessageBytes);
  EXPECT_EQ(text_of(log_path(folder.path(), 0)).find("4999"), std::string::npos);
}

TEST(LogWriter, AFullDiskIsSaidAndSurvived) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const TestFolder folder;
  // Each write there fails as on a full disk.
  std::filesystem::create_symlink("/dev/full", log_path(folder.path(), 0));
  LogWriter log(folder.path(), kWide, kBegin);
  log.write("one\ntwo\nthr", kBegin);
  log.write("ee\nfour\n", kBegin);
  EXPECT_EQ(log.dropped_lines(), 4u);
  EXPECT_EQ(log.dropped_bytes(), 19u);
  EXPECT_TRUE(log.tail().ends_with("three\nfour\n"));
}

TEST(LogTail, ReachesIntoOlderFiles) {
  const TestFolder folder;
  LogWriter log(folder.path(), kWide, kBegin);
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    const std::string line = fmt::format("line {}\n", i);
    all += line;
    log.write(line, kBegin);
  }
  EXPECT_EQ(*read_log_tail(folder.path(), 1u << 20), all);
  const std::string part = *read_log_tail(folder.path(), 5000);
  EXPECT_TRUE(all.ends_with(part));
  EXPECT_TRUE(part.starts_with("line "));
  EXPECT_GT(part.size(), 4950u);
  EXPECT_EQ(*read_log_tail(folder.path() / "nothing", 100), "");
}

}  // namespace
}  // namespace sluice::process
