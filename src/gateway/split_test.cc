#include "gateway/split.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string>

#include "base/rng.h"

namespace sluice::gateway {
namespace {

plan::Target branch(std::string upstream, double weight) {
  plan::Target target;
  target.upstream = std::move(upstream);
  target.weight = weight;
  return target;
}

constexpr auto kNoHeader = [](std::string_view) -> std::optional<std::string_view> {
  return std::nullopt;
};
constexpr auto kAllUsable = [](size_t) { return true; };

TEST(TrafficSplit, SharesAreExact) {
  TrafficSplit split({branch("a", 90), branch("b", 9), branch("c", 1)});
  std::array<int, 3> counts{};
  for (int i = 0; i < 10'000; ++i) ++counts.at(split.choose("", kNoHeader, kAllUsable)->target);
  EXPECT_EQ(counts, (std::array<int, 3>{9000, 900, 100}));
}

TEST(TrafficSplit, FractionalWeightsStayWithinOneRequest) {
  TrafficSplit split({branch("a", 0.7), branch("b", 0.3)});
  int b = 0;
  for (int i = 1; i <= 10'000; ++i) {
    b += static_cast<int>(split.choose("", kNoHeader, kAllUsable)->target);
    ASSERT_NEAR(b, i * 0.3, 1.0);
  }
}

TEST(TrafficSplit, StickyFollowsWeightsAndNothingElse) {
  TrafficSplit split({branch("a", 3), branch("b", 1)});
  TrafficSplit again({branch("a", 3), branch("b", 1)});
  TrafficSplit other_order({branch("b", 1), branch("a", 3)});
  int b = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::string key = "user-" + std::to_string(i);
    const size_t target = split.choose(key, kNoHeader, kAllUsable)->target;
    EXPECT_EQ(target, again.choose(key, kNoHeader, kAllUsable)->target);
    EXPECT_EQ(target, 1 - other_order.choose(key, kNoHeader, kAllUsable)->target);
    b += static_cast<int>(target);
  }
  EXPECT_NEAR(b, 2'500, 150);
}

TEST(TrafficSplit, AChangedWeightMovesNoMoreThanItMust) {
  TrafficSplit before({branch("a", 9), branch("b", 1)});
  TrafficSplit after({branch("a", 8), branch("b", 2)});
  int moved = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::string key = "user-" + std::to_string(i);
    const size_t old_target = before.choose(key, kNoHeader, kAllUsable)->target;
    const size_t new_target = after.choose(key, kNoHeader, kAllUsable)->target;
    if (old_target == new_target) continue;
    ++moved;
    EXPECT_EQ(new_target, 1u) << "nobody leaves the branch that grew";
  }
  EXPECT_NEAR(moved, 1'000, 150);
}

TEST(TrafficSplit, ABranchThatIsDownIsPassedOver) {
  TrafficSplit split({branch("a", 50), branch("b", 50)});
  const auto only_a = [](size_t i) { return i == 0; };
  for (int i = 0; i < 10; ++i) EXPECT_EQ(split.choose("", kNoHeader, only_a)->target, 0u);
  EXPECT_FALSE(split.choose("", kNoHeader, [](size_t) { return false; }));
  // And is not owed what it missed.
  int b = 0;
  for (int i = 0; i < 100; ++i)
    b += static_cast<int>(split.choose("", kNoHeader, kAllUsable)->target);
  EXPECT_NEAR(b, 50, 6);
}

TEST(TrafficSplit, HeadersGoFirstAndDarkBranchesGetNothingElse) {
  plan::Target dark = branch("dark", 0);
  dark.when = {{.name = "x-canary", .value = "1"}};
  TrafficSplit split({branch("a", 1), dark});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(split.choose("", kNoHeader, kAllUsable)->target, 0u);
  const auto canary = [](std::string_view name) -> std::optional<std::string_view> {
    if (name == "x-canary") return "1";
    return std::nullopt;
  };
  const auto wrong = [](std::string_view) -> std::optional<std::string_view> { return "2"; };
  EXPECT_EQ(split.choose("", canary, kAllUsable)->target, 1u);
  EXPECT_EQ(split.choose("", canary, kAllUsable)->reason, SplitReason::kHeader);
  EXPECT_EQ(split.choose("", wrong, kAllUsable)->target, 0u);
  EXPECT_EQ(split.choose("", canary, [](size_t i) { return i == 0; })->target, 0u);
}

}  // namespace
}  // namespace sluice::gateway
