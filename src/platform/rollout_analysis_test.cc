#include "platform/rollout_analysis.h"

#include <gtest/gtest.h>

#include "platform/load_book.h"
#include "platform/parts_test_support.h"
#include "platform/rollout_test_support.h"

namespace sluice::platform {
namespace {

TEST(RolloutPolicy, Defaults) {
  const RolloutPolicy none = policy_of("{}");
  EXPECT_EQ(none.strategy, RolloutStrategy::kLatest);
  EXPECT_FALSE(none.analysis.has_value());
  const RolloutPolicy progressive = policy_of(R"({"sluice":{"rollout":{}}})");
  EXPECT_EQ(progressive.strategy, RolloutStrategy::kProgressive);
  ASSERT_EQ(progressive.steps.size(), 4u);
  EXPECT_EQ(progressive.steps.back().weight, 100);
  EXPECT_DOUBLE_EQ(progressive.steps.back().pause_seconds, 30) << "three looks of 10 s";
  EXPECT_DOUBLE_EQ(progressive.analysis->max_error_rate.value(), 0.05);
  EXPECT_TRUE(progressive.auto_rollback);
  EXPECT_EQ(parse_rollout_command("promote").action, RolloutAction::kNone);
  EXPECT_EQ(parse_rollout_command("destroy v1").action, RolloutAction::kNone);
  EXPECT_EQ(parse_rollout_command("pause  v1 ").revision, "v1");
}

TEST(RolloutAnalysis, JudgesEachFigure) {
  const RolloutFigures stable{.requests = 200,
                              .errors = 1,
                              .ttft_p95_ms = 100,
                              .latency_p95_ms = 1000,
                              .tokens_second = 50};
  RolloutFigures candidate = stable;
  RolloutAnalysis analysis;
  const auto verdict = [&] { return judge(analysis, candidate, stable); };
  EXPECT_EQ(verdict(), "");
  analysis.max_ratio = 1.5;
  EXPECT_EQ(verdict(), "");
  candidate.ttft_p95_ms = 151;
  EXPECT_TRUE(verdict().contains("the time to the first token is 151 ms"));
  candidate = stable;
  candidate.tokens_second = 33;
  EXPECT_TRUE(verdict().contains("33.0 tokens/s"));
  candidate = stable;
  candidate.errors = 4;  // 2 %, more than 1.5 times (1 + 1) of 201
  EXPECT_TRUE(verdict().contains("4 of 200"));
  candidate = stable;
  analysis = {};
  analysis.max_ttft_ms = 90;
  EXPECT_TRUE(verdict().contains("at most 90 ms"));
  analysis = {};
  analysis.max_latency_ms = 900;
  EXPECT_TRUE(verdict().contains("the time of a request is 1000 ms"));
  analysis = {};
  analysis.min_tokens_second = 51;
  EXPECT_TRUE(verdict().contains("at least 51.0"));
  analysis = {};
  analysis.max_error_rate = 0;
  EXPECT_TRUE(verdict().contains("1 of 200"));
}

TEST(RolloutFigures, AreMadeOfASpan) {
  LoadSpan span;
  span.answered = 7;
  span.failed = 2;
  span.refused = 1;
  for (int i = 0; i < 100; ++i) span.ttft.add(100);
  const RolloutFigures figures = rollout_figures(span);
  EXPECT_EQ(figures.requests, 10);
  EXPECT_EQ(figures.errors, 3);
  EXPECT_NEAR(figures.ttft_p95_ms.value(), 100, 20);
  EXPECT_FALSE(figures.latency_p95_ms.has_value());
}

}  // namespace
}  // namespace sluice::platform
