// Breaker, active checks, outliers, retry budget, recent quantile: time is turned by hand.
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "gateway/active_health.h"
#include "gateway/breaker.h"
#include "gateway/outliers.h"
#include "gateway/quantile.h"
#include "gateway/retry_budget.h"

namespace sluice::gateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using State = CircuitBreaker::State;

TimePoint at(Duration d) { return TimePoint(d); }

TEST(CircuitBreaker, OpensOnFailuresInARow) {
  CircuitBreaker breaker({.consecutive_failures = 3});
  breaker.on_failure(at(seconds(1)));
  breaker.on_failure(at(seconds(1)));
  breaker.on_success(at(seconds(1)));
  breaker.on_failure(at(seconds(1)));
  breaker.on_failure(at(seconds(1)));
  EXPECT_EQ(breaker.state(), State::kClosed);
  breaker.on_failure(at(seconds(1)));
  EXPECT_EQ(breaker.state(), State::kOpen);
  EXPECT_FALSE(breaker.acquire(at(seconds(5))));
}

TEST(CircuitBreaker, OpensOnAShareOfFailures) {
  CircuitBreaker breaker({.consecutive_failures = 1000, .failure_ratio = 0.5, .min_requests = 10});
  for (int i = 0; i < 5; ++i) {
    breaker.on_success(at(seconds(1)));
    EXPECT_EQ(breaker.state(), State::kClosed);
    breaker.on_failure(at(seconds(1)));
  }
  EXPECT_EQ(breaker.state(), State::kOpen);
}

TEST(CircuitBreaker, FailuresOfAnOldWindowAreForgotten) {
  CircuitBreaker breaker({.consecutive_failures = 1000, .min_requests = 4, .window = seconds(10)});
  for (int i = 0; i < 3; ++i) breaker.on_failure(at(seconds(20)));
  breaker.on_success(at(seconds(31)));
  breaker.on_success(at(seconds(31)));
  breaker.on_success(at(seconds(31)));
  breaker.on_failure(at(seconds(31)));
  EXPECT_EQ(breaker.state(), State::kClosed);
}

TEST(CircuitBreaker, TrialsCloseIt) {
  CircuitBreaker breaker({.consecutive_failures = 1, .open_for = seconds(5), .close_after = 2});
  breaker.on_failure(at(seconds(0)));
  EXPECT_FALSE(breaker.acquire(at(milliseconds(4999))));
  EXPECT_TRUE(breaker.acquire(at(seconds(5))));
  EXPECT_EQ(breaker.state(), State::kHalfOpen);
  EXPECT_FALSE(breaker.acquire(at(seconds(5)))) << "one trial at a time";
  breaker.on_success(at(seconds(6)));
  EXPECT_EQ(breaker.state(), State::kHalfOpen);
  EXPECT_TRUE(breaker.acquire(at(seconds(6))));
  breaker.on_success(at(seconds(6)));
  EXPECT_EQ(breaker.state(), State::kClosed);
}

TEST(CircuitBreaker, WaitsLongerAfterEachFailedTrial) {
  CircuitBreaker breaker(
      {.consecutive_failures = 1, .open_for = seconds(1), .max_open = seconds(4)});
  TimePoint now = at(seconds(0));
  breaker.on_failure(now);
  for (const int wait : {1, 2, 4, 4}) {
    EXPECT_EQ(breaker.retry_at() - now, seconds(wait));
    now = breaker.retry_at();
    EXPECT_TRUE(breaker.acquire(now));
    breaker.on_failure(now);
  }
}

TEST(CircuitBreaker, ANeutralTrialLeavesRoomForAnother) {
  CircuitBreaker breaker({.consecutive_failures = 1, .open_for = seconds(1)});
  breaker.on_failure(at(seconds(0)));
  EXPECT_TRUE(breaker.acquire(at(seconds(1))));
  breaker.on_neutral();
  EXPECT_TRUE(breaker.acquire(at(seconds(1))));
}

TEST(CircuitBreaker, ARecoveredReplicaStartsAnew) {
  CircuitBreaker breaker({.consecutive_failures = 2, .open_for = seconds(10)});
  const auto fail_twice = [&](int second) {
    breaker.on_failure(at(seconds(second)));
    breaker.on_failure(at(seconds(second)));
  };
  fail_twice(0);
  EXPECT_FALSE(breaker.acquire(at(seconds(1))));
  breaker.on_recovery(at(seconds(1)));
  EXPECT_EQ(breaker.state(), State::kClosed);
  EXPECT_TRUE(breaker.acquire(at(seconds(1))));
  breaker.on_failure(at(seconds(1)));
  EXPECT_EQ(breaker.state(), State::kClosed) << "what was before does not count";
  breaker.on_failure(at(seconds(1)));
  EXPECT_EQ(breaker.state(), State::kOpen);
  EXPECT_EQ(breaker.retry_at(), at(seconds(21))) << "it fell again";
}

TEST(ActiveHealth, ChangesAfterARowOfChecks) {
  ActiveHealth health({.unhealthy_after = 2, .healthy_after = 2});
  EXPECT_TRUE(health.healthy());
  health.on_check(false);
  EXPECT_TRUE(health.healthy());
  health.on_check(false);
  EXPECT_FALSE(health.healthy());
  health.on_check(true);
  EXPECT_FALSE(health.healthy());
  health.on_check(false);
  health.on_check(true);
  health.on_check(true);
  EXPECT_TRUE(health.healthy());
}

TEST(ActiveHealth, OneFailedCheckOfASuspectIsEnough) {
  ActiveHealth health({.unhealthy_after = 3});
  health.on_check(false);
  EXPECT_TRUE(health.healthy());
  health.on_check(false, true);
  EXPECT_FALSE(health.healthy());
}

TEST(ActiveHealth, ARefusedConnectionCountsAtOnce) {
  ActiveHealth health(plan::HealthPlan{});
  health.on_not_reached();
  EXPECT_FALSE(health.healthy());
  health.on_check(true);
  EXPECT_TRUE(health.healthy());

  ActiveHealth unchecked({.active = false});
  unchecked.on_not_reached();
  EXPECT_TRUE(unchecked.healthy()) << "nobody would bring it back";
}

TEST(Outliers, EjectsTheFailingUpToTheShare) {
  std::vector<ReplicaSample> samples(4, {.requests = 100});
  samples[1].failures = 40;
  samples[3].failures = 90;
  const plan::OutlierPlan one{.failure_ratio = 0.3, .max_ejected_percent = 25};
  EXPECT_EQ(find_outliers(samples, one), (std::vector<size_t>{3}));
  const plan::OutlierPlan half{.failure_ratio = 0.3, .max_ejected_percent = 50};
  EXPECT_EQ(find_outliers(samples, half), (std::vector<size_t>{3, 1}));
  samples[0].ejected = true;
  EXPECT_EQ(find_outliers(samples, half), (std::vector<size_t>{3}));
}

TEST(Outliers, NeverTheOnlyOneAndNeverOnFewRequests) {
  const plan::OutlierPlan settings{.min_requests = 20, .max_ejected_percent = 100};
  const std::vector<ReplicaSample> alone = {{.requests = 50, .failures = 50}};
  EXPECT_TRUE(find_outliers(alone, settings).empty());
  const std::vector<ReplicaSample> few = {{.requests = 19, .failures = 19}, {.requests = 100}};
  EXPECT_TRUE(find_outliers(few, settings).empty());
  EXPECT_TRUE(find_outliers({}, settings).empty());
}

TEST(Outliers, EjectsTheSlow) {
  std::vector<ReplicaSample> samples(4, {.requests = 100, .mean_first_token = milliseconds(20)});
  samples[2].mean_first_token = milliseconds(90);
  EXPECT_TRUE(find_outliers(samples, {.latency_factor = 5}).empty());
  EXPECT_EQ(find_outliers(samples, {.latency_factor = 4}), (std::vector<size_t>{2}));
  EXPECT_TRUE(find_outliers(samples, {.latency_factor = 0}).empty());
}

TEST(RetryBudget, GrowsWithRequestsAndTime) {
  RetryBudget budget(0.5, 0);
  EXPECT_FALSE(budget.take(at(seconds(1))));
  budget.on_request();
  budget.on_request();
  EXPECT_TRUE(budget.take(at(seconds(1))));
  EXPECT_FALSE(budget.take(at(seconds(100))));

  RetryBudget timed(0, 2);
  EXPECT_TRUE(timed.take(at(seconds(1))));
  EXPECT_TRUE(timed.take(at(seconds(1))));
  EXPECT_FALSE(timed.take(at(seconds(1))));
  EXPECT_TRUE(timed.take(at(milliseconds(1500))));
  EXPECT_FALSE(timed.take(at(milliseconds(1500))));
}

TEST(RetryBudget, ARetryStormAddsNoMoreThanTheShare) {
  RetryBudget budget(0.2, 0);
  int retries = 0;
  for (int i = 0; i < 10'000; ++i) {
    budget.on_request();
    for (int tries = 0; tries < 3; ++tries) retries += budget.take(at(seconds(1))) ? 1 : 0;
  }
  EXPECT_LE(retries, 2'000);
  EXPECT_GE(retries, 1'990);
}

TEST(RecentQuantile, NeedsEnoughValues) {
  RecentQuantile recent;
  for (size_t i = 0; i + 1 < RecentQuantile::kEnough; ++i) recent.add(1);
  EXPECT_FALSE(recent.get(0.5));
  for (int i = 0; i < 1000; ++i) recent.add(i % 64);
  EXPECT_NEAR(*recent.get(0.95), 60, 2);
  EXPECT_NEAR(*recent.get(0.5), 31, 2);
}

}  // namespace
}  // namespace sluice::gateway
