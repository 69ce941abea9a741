#include "gateway/budget.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/rng.h"

namespace sluice::gateway {
namespace {

using namespace std::chrono_literals;

constexpr double kNoon = 1'700'006'400.0 + 43'200.0;  // 2023-11-15, at noon UTC

Moment at(Duration after) { return moment_at(TimePoint(after), kNoon + to_seconds(after)); }

TEST(MomentTest, KnowsDaysAndMonths) {
  const Moment noon = at(0s);
  EXPECT_EQ(noon.to_next_day, 12h);
  EXPECT_EQ(noon.to_next_month, 15 * 24h + 12h);
  EXPECT_EQ(at(12h).day, noon.day + 1);
  EXPECT_EQ(at(12h).month, noon.month);
  EXPECT_EQ(at(15 * 24h + 12h).month, noon.month + 1);
}

TEST(SlidingMinuteTest, ForgetsAfterAMinuteAndNeverEarlier) {
  SlidingMinute minute;
  minute.add(TimePoint(10ms), 5);
  minute.add(TimePoint(30s), 7);
  EXPECT_EQ(minute.sum(TimePoint(60s)), 12);
  EXPECT_EQ(minute.sum(TimePoint(60s + 10ms)), 12);
  EXPECT_EQ(minute.sum(TimePoint(60s + 100ms)), 7);
  EXPECT_EQ(minute.until_released(TimePoint(61s), 7), 29s + 100ms);
  EXPECT_EQ(minute.until_released(TimePoint(61s), 8), std::nullopt);
  EXPECT_EQ(minute.sum(TimePoint(90s + 100ms)), 0);
}

TEST(BudgetTest, WhatIsReservedCountsAsUsed) {
  Budget budget;
  budget.set_limits({.tokens_per_minute = 100});
  EXPECT_FALSE(budget.refusal(at(0s), {.tokens = 60}));
  budget.reserve(at(0s), {.tokens = 60});
  const auto no = budget.refusal(at(1s), {.tokens = 41});
  ASSERT_TRUE(no);
  EXPECT_EQ(no->limit, LimitKind::kTokensPerMinute);
  EXPECT_EQ(no->allowed, 100);
  EXPECT_EQ(no->used, 60);
  EXPECT_TRUE(no->retry_after);
  EXPECT_FALSE(budget.refusal(at(1s), {.tokens = 40}));
  budget.settle(at(2s), at(0s), {.tokens = 60}, {.tokens = 10});
  EXPECT_FALSE(budget.refusal(at(3s), {.tokens = 90}));
  EXPECT_TRUE(budget.refusal(at(61s), {.tokens = 91}));
  EXPECT_FALSE(budget.refusal(at(62s + 100ms), {.tokens = 100}));
}

TEST(BudgetTest, ARequestOverTheLimitAloneIsNotToldToTryAgain) {
  Budget budget;
  budget.set_limits({.tokens_per_day = 1000});
  const auto no = budget.refusal(at(0s), {.tokens = 1001});
  ASSERT_TRUE(no);
  EXPECT_EQ(no->limit, LimitKind::kTokensPerDay);
  EXPECT_FALSE(no->retry_after);
}

TEST(BudgetTest, CountsRequestsAndConcurrency) {
  Budget budget;
  budget.set_limits({.requests_per_minute = 3, .max_concurrent = 2});
  budget.reserve(at(0s), {});
  budget.reserve(at(1s), {});
  EXPECT_EQ(budget.refusal(at(1s), {})->limit, LimitKind::kConcurrency);
  budget.settle(at(2s), at(0s), {}, {});
  budget.reserve(at(2s), {});
  budget.settle(at(3s), at(1s), {}, {});
  const auto no = budget.refusal(at(3s), {});
  ASSERT_TRUE(no);
  EXPECT_EQ(no->limit, LimitKind::kRequestsPerMinute);
  EXPECT_EQ(*no->retry_after, 57s + 100ms);
  EXPECT_FALSE(budget.refusal(at(60s + 100ms), {}));
}

TEST(BudgetTest, ADayEndsAtMidnightUtcAndARequestBelongsToTheDayOfItsStart) {
  Budget budget;
  budget.set_limits({.tokens_per_day = 100, .micros_per_day = 50, .micros_per_month = 1000});
  budget.reserve(at(11h + 59min), {.tokens = 80, .micros = 10});
  EXPECT_EQ(budget.refusal(at(11h + 59min), {.tokens = 21})->retry_after, 1min);
  EXPECT_EQ(budget.refusal(at(11h + 59min), {.micros = 41})->limit, LimitKind::kMoneyPerDay);
  EXPECT_FALSE(budget.refusal(at(12h), {.tokens = 100, .micros = 50}));
  // Settled on the next day: that day is not touched, the month is.
  budget.settle(at(12h + 1s), at(11h + 59min), {.tokens = 80, .micros = 10},
                {.tokens = 1, .micros = 4});
  EXPECT_FALSE(budget.refusal(at(12h + 2s), {.tokens = 100}));
  EXPECT_TRUE(budget.refusal(at(12h + 2s), {.tokens = 101}));
  budget.set_limits({.micros_per_month = 1000});
  EXPECT_FALSE(budget.refusal(at(12h + 2s), {.micros = 996}));
  EXPECT_EQ(budget.refusal(at(12h + 2s), {.micros = 997})->limit, LimitKind::kMoneyPerMonth);
}

// Against a log of what was really spent, token by token, in every 60 s.
TEST(BudgetTest, NoMinuteIsEverOverTheLimit) {
  constexpr int64_t kLimit = 1000;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Rng rng(seed);
    Budget budget;
    budget.set_limits({.tokens_per_minute = kLimit});
    struct Running {
      Moment start;
      int64_t most;
      int64_t used;
    };
    std::deque<Running> running;
    std::deque<std::pair<Duration, int64_t>> spent;
    int64_t in_window = 0;
    int64_t admitted = 0;
    Duration now{};
    for (int i = 0; i < 4000; ++i) {
      now += std::chrono::milliseconds(rng.below(300));
      const auto most = static_cast<int64_t>(1 + rng.below(200));
      if (!budget.refusal(at(now), {.tokens = most})) {
        budget.reserve(at(now), {.tokens = most});
        running.push_back({at(now), most, 0});
        ++admitted;
      }
      for (Running& request : running) {
        const auto more =
            std::min<int64_t>(static_cast<int64_t>(rng.below(20)), request.most - request.used);
        request.used += more;
        spent.emplace_back(now, more);
        in_window += more;
      }
      if (!running.empty() && rng.below(2) == 0) {
        const Running done = running.front();
        running.pop_front();
        budget.settle(at(now), done.start, {.tokens = done.most}, {.tokens = done.used});
      }
      while (!spent.empty() && spent.front().first <= now - 60s) {
        in_window -= spent.front().second;
        spent.pop_front();
      }
      ASSERT_LE(in_window, kLimit) << "seed " << seed << " step " << i;
    }
    EXPECT_GT(admitted, 50);
  }
}

}  // namespace
}  // namespace sluice::gateway
