#include "telemetry/metrics.h"

#include <gtest/gtest.h>

#include "telemetry/serving_metrics.h"

namespace sluice::telemetry {
namespace {

TEST(Metrics, ViewsAreRenderedApartOrTogether) {
  Metrics metrics;
  const ServingMetrics serving(metrics, "story", 512, {16, 100, "f16", true});
  serving.prompt_tokens.add(7);
  serving.finished(Finish::kStop);
  serving.rejected(Rejection::kQueueTokens);
  serving.time_to_first_token.observe(0.003);

  const std::string native = metrics.render(true, false);
  EXPECT_NE(native.find("sluice_prompt_tokens_total{model=\"story\"} 7"), std::string::npos);
  EXPECT_NE(native.find("reason=\"queue_tokens\"} 1"), std::string::npos);
  EXPECT_EQ(native.find("vllm:"), std::string::npos);

  const std::string vllm = metrics.render(false, true);
  EXPECT_NE(vllm.find("vllm:prompt_tokens_total{engine=\"0\",model_name=\"story\"} 7"),
            std::string::npos);
  EXPECT_NE(vllm.find("finished_reason=\"stop\""), std::string::npos);
  EXPECT_EQ(vllm.find("sluice_"), std::string::npos);

  const std::string both = metrics.render(true, true);
  EXPECT_NE(both.find("sluice_"), std::string::npos);
  EXPECT_NE(both.find("vllm:"), std::string::npos);
}

TEST(Metrics, HooksRunBeforeEachRendering) {
  Metrics metrics;
  Gauge& gauge = metrics.gauge(View::kNative, "sluice_test_value", "A test.");
  int calls = 0;
  metrics.before_scrape([&] { gauge.Set(++calls); });
  EXPECT_NE(metrics.render(true, true).find("sluice_test_value 1"), std::string::npos);
  EXPECT_NE(metrics.render(true, true).find("sluice_test_value 2"), std::string::npos);
}

TEST(Metrics, LabelValuesAreEscaped) {
  Metrics metrics;
  metrics.counter(View::kNative, "sluice_test_total", "A test.", {{"model", "a\"b\nc\\"}});
  EXPECT_NE(metrics.render(true, false).find(R"(model="a\"b\nc\\")"), std::string::npos);
}

}  // namespace
}  // namespace sluice::telemetry
