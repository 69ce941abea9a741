// How objects are kept: in one piece of memory each, and the changes before the last as text.
#include "control/stored_object.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "control/change_history.h"
#include "control/packed_json.h"
#include "control/test_support.h"

namespace sluice::control {
namespace {

json::value random_value(Rng& rng, int depth) {
  switch (rng.below(depth > 0 ? 6 : 4)) {
    case 0:
      return nullptr;
    case 1:
      return rng.chance(0.5);
    case 2:
      return static_cast<int64_t>(rng.next());
    case 3:
      return json::value(std::string(rng.below(60), 'x'));
    case 4: {
      json::array list;
      for (uint64_t i = rng.below(8); i > 0; --i) list.push_back(random_value(rng, depth - 1));
      return list;
    }
    default:
      break;
  }
  json::object object;
  // Above 18 members there is an index.
  for (uint64_t i = rng.below(25); i > 0; --i) {
    object[std::string(1 + rng.below(20), static_cast<char>('a' + i))] =
        random_value(rng, depth - 1);
  }
  return object;
}

TEST(PackedJson, IsTheSameAndReadsAsAnyOther) {
  EXPECT_TRUE(packed({}).empty());
  Rng rng(7);
  for (int round = 0; round < 200; ++round) {
    const json::object object{{"a", random_value(rng, 4)}, {"b", random_value(rng, 4)}};
    const json::object copy = packed(object);
    EXPECT_EQ(copy, object);
    EXPECT_EQ(json::serialize(packed(copy)), json::serialize(object));
  }
}

TEST(PackedJson, CopiesOutliveItAndAreChangedByManyThreads) {
  Rng rng(8);
  const json::object object{{"a", random_value(rng, 5)}, {"text", std::string(100, 'x')}};
  std::vector<json::object> copies(4);
  {
    const json::object kept = packed(object);
    std::vector<std::jthread> threads;
    threads.reserve(copies.size());
    for (json::object& copy : copies) {
      threads.emplace_back([&kept, &copy] {
        for (int round = 0; round < 200; ++round) {
          json::object mine = kept;
          mine["round"] = std::string(50, static_cast<char>('a' + round % 26));
          mine["a"] = kept;
          mine.erase("text");
          copy = std::move(mine);
        }
      });
    }
  }
  for (const json::object& copy : copies) {
    EXPECT_EQ(copy.at("a"), object);
    EXPECT_FALSE(copy.contains("text"));
  }
}

Change change_to(const ObjectPtr& before, uint64_t version, std::string_view data) {
  json::object body = before ? before->body : config_map("a");
  body["data"] = json::object{{"key", data}};
  return {.kind = before ? ChangeKind::kModified : ChangeKind::kAdded,
          .version = version,
          .object = make_object(config_maps(), std::move(body), version),
          .before = before};
}

TEST(ChangeHistory, TellsWhatWasFromItsText) {
  ChangeHistory history(10, 1u << 20);
  ObjectPtr present;
  for (const char* data : {"one", "two", "three"}) {
    const Change change = change_to(present, present ? present->version + 1 : 5, data);
    EXPECT_EQ(history.remember(change), 0u);
    present = change.object;
  }
  std::vector<std::string> seen;
  const auto watcher = [&](const Change& change) {
    seen.push_back(std::to_string(change.version) + " " +
                   (change.before ? std::string(text_at(change.before->body, "data.key")) : "-") +
                   ">" + std::string(text_at(change.object->body, "data.key")));
    EXPECT_EQ(change.object->name, "a");
    EXPECT_EQ(change.object->version, change.version);
    EXPECT_EQ(json::serialize(change.object->body), *change.object->text);
    return seen.size() < 3;
  };
  EXPECT_TRUE(history.replay(nullptr, 5, watcher));
  EXPECT_EQ(seen, (std::vector<std::string>{"6 one>two", "7 two>three"}));
  EXPECT_FALSE(history.replay(&config_maps(), 4, watcher)) << "it wanted no more";
  EXPECT_EQ(seen.back(), "5 ->one");
  EXPECT_TRUE(history.replay(&services(), 0, watcher)) << "of another type";
  EXPECT_EQ(seen.size(), 3u);
}

TEST(ChangeHistory, ForgetsTheOldestBeyondItsBounds) {
  ChangeHistory few(2, 1u << 20);
  ObjectPtr present;
  uint64_t forgotten = 0;
  for (uint64_t version = 1; version <= 5; ++version) {
    const Change change = change_to(present, version, "data");
    forgotten = few.remember(change);
    present = change.object;
  }
  EXPECT_EQ(forgotten, 3u);
  EXPECT_EQ(few.size(), 2u);

  ChangeHistory small(100, 10);
  for (uint64_t version = 6; version <= 8; ++version) {
    const Change change = change_to(present, version, "data");
    small.remember(change);
    EXPECT_EQ(small.size(), 1u) << "the newest stays, however large";
    EXPECT_EQ(small.bytes(), change.object->text->size());
    present = change.object;
  }
}

}  // namespace
}  // namespace sluice::control
