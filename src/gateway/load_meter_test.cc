#include "gateway/load_meter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace sluice::gateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kNoOffset{};

TimePoint at(Duration since) { return TimePoint(since); }

struct LoadMeterTest : ::testing::Test {
  std::shared_ptr<LoadMeter> meter = std::make_shared<LoadMeter>(kNoOffset);

  LoadVisit visit(Duration began) { return {meter, at(began), at(began)}; }
};

TEST_F(LoadMeterTest, ConcurrencyIsTheAverageOverEachSecond) {
  LoadVisit a = visit(milliseconds(10'250));
  LoadVisit b = visit(milliseconds(10'500));
  a.end(LoadOutcome::kAnswered, std::nullopt, at(milliseconds(11'500)));
  b.end(LoadOutcome::kAnswered, std::nullopt, at(milliseconds(12'000)));
  const auto taken = meter->take(at(milliseconds(13'001)), kNoOffset);
  ASSERT_EQ(taken.size(), 3u);
  EXPECT_EQ(taken[0].second, 10);
  EXPECT_DOUBLE_EQ(taken[0].load.concurrency, 0.75 + 0.5);
  EXPECT_EQ(taken[0].load.arrived, 2);
  EXPECT_EQ(taken[0].load.in_flight, 2);
  EXPECT_DOUBLE_EQ(taken[1].load.concurrency, 0.5 + 1);
  EXPECT_EQ(taken[1].load.answered, 1);
  // The second ends where b does.
  EXPECT_DOUBLE_EQ(taken[2].load.concurrency, 0);
  EXPECT_EQ(taken[2].load.answered, 1);
  EXPECT_EQ(taken[2].load.in_flight, 0);
}

TEST_F(LoadMeterTest, HeldRequestsAreLoad) {
  LoadVisit a = visit(milliseconds(1000));
  a.hold(at(milliseconds(1000)));
  auto taken = meter->take(at(milliseconds(2000)), kNoOffset);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_DOUBLE_EQ(taken[0].load.concurrency, 1);
  EXPECT_EQ(taken[0].load.held, 1);
  ASSERT_EQ(taken[0].load.waiting_first.size(), 1u);
  EXPECT_EQ(taken[0].load.waiting_first[0].waited_ms, 1000);
  a.release(at(milliseconds(2100)));
  a.first_token(at(milliseconds(2200)));
  a.end(LoadOutcome::kAnswered, TokenCounts{10, 11}, at(milliseconds(2700)));
  taken = meter->take(at(milliseconds(3000)), kNoOffset);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].load.held, 0);
  EXPECT_EQ(taken[0].load.prompt_tokens, 10);
  EXPECT_EQ(taken[0].load.completion_tokens, 11);
  EXPECT_NEAR(*taken[0].load.ttft.quantile(0.5), 1200, 240);
  EXPECT_NEAR(*taken[0].load.latency.quantile(0.5), 1700, 340);
  EXPECT_NEAR(*taken[0].load.stream_rate.quantile(0.5), 20, 4);
  // The first token came in this second, so that it is told of once more.
  ASSERT_EQ(taken[0].load.waiting_first.size(), 1u);
  EXPECT_EQ(taken[0].load.waiting_first[0].waited_ms, 1200);
}

TEST_F(LoadMeterTest, OutcomesAreToldApart) {
  const Duration now = seconds(5);
  for (const LoadOutcome outcome :
       {LoadOutcome::kAnswered, LoadOutcome::kFailed, LoadOutcome::kFailed, LoadOutcome::kRefused,
        LoadOutcome::kLeft}) {
    visit(now).end(outcome, std::nullopt, at(now));
  }
  const auto taken = meter->take(at(seconds(6)), kNoOffset);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].load.arrived, 5);
  EXPECT_EQ(taken[0].load.answered, 1);
  EXPECT_EQ(taken[0].load.failed, 2);
  EXPECT_EQ(taken[0].load.refused, 1);
}

TEST_F(LoadMeterTest, AVisitThatMovesIsOneRequest) {
  LoadVisit a = visit(seconds(1));
  LoadVisit b = std::move(a);
  a = LoadVisit();
  b.hold(at(seconds(1)));
  LoadVisit c;
  c = std::move(b);
  c.end(LoadOutcome::kAnswered, std::nullopt, at(milliseconds(1500)));
  c.end(LoadOutcome::kAnswered, std::nullopt, at(milliseconds(1600)));
  const auto taken = meter->take(at(seconds(2)), kNoOffset);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].load.answered, 1);
  EXPECT_EQ(taken[0].load.in_flight, 0);
  EXPECT_EQ(taken[0].load.held, 0);
  EXPECT_DOUBLE_EQ(taken[0].load.concurrency, 0.5);
}

TEST_F(LoadMeterTest, ALongRestKeepsTheLastSecondsOnly) {
  LoadVisit a = visit(seconds(100));
  const auto taken = meter->take(at(seconds(5000)), kNoOffset);
  ASSERT_EQ(taken.size(), LoadMeter::kKept);
  EXPECT_EQ(taken.back().second, 4999);
  EXPECT_DOUBLE_EQ(taken.back().load.concurrency, 1);
  // The wall clock was set back: no second is told twice.
  EXPECT_TRUE(meter->take(at(seconds(5001)), -seconds(60)).empty());
  const auto later = meter->take(at(seconds(5001)) + seconds(60), -seconds(60));
  ASSERT_EQ(later.size(), 1u);
  EXPECT_EQ(later[0].second, 5000);
  EXPECT_DOUBLE_EQ(later[0].load.concurrency, 1);
  a.end(LoadOutcome::kLeft, std::nullopt, at(seconds(5062)));
}

TEST_F(LoadMeterTest, AveragesAgreeWithASumOfTheRequestsOwnTimes) {
  Rng rng(7);
  for (int round = 0; round < 20; ++round) {
    auto each = std::make_shared<LoadMeter>(kNoOffset);
    std::vector<std::pair<int64_t, std::unique_ptr<LoadVisit>>> open;  // by its end
    double expected = 0;
    double told = 0;
    for (int64_t ms = 0; ms < 4000; ++ms) {
      const TimePoint now = at(seconds(10) + milliseconds(ms));
      std::erase_if(open, [&](auto& visit) {
        if (visit.first > ms) return false;
        visit.second->end(LoadOutcome::kAnswered, std::nullopt, now);
        return true;
      });
      if (rng.below(10) == 0) {
        const auto ends = ms + 1 + static_cast<int64_t>(rng.below(1500));
        open.emplace_back(ends, std::make_unique<LoadVisit>(each, now, now));
        expected += static_cast<double>(std::min<int64_t>(ends, 4000) - ms) / 1000;
      }
      if (ms % 777 == 0) {
        for (const auto& second : each->take(now, kNoOffset)) told += second.load.concurrency;
      }
    }
    for (const auto& second : each->take(at(seconds(14)), kNoOffset)) {
      told += second.load.concurrency;
    }
    EXPECT_NEAR(told, expected, 1e-6);
    for (auto& visit : open) visit.second->end(LoadOutcome::kLeft, std::nullopt, at(seconds(14)));
  }
}

}  // namespace
}  // namespace sluice::gateway
