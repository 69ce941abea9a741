#include <gtest/gtest.h>

#include "cli/top/view.h"

namespace sluice::cli {
namespace {

using telemetry::MetricsPage;

MetricsPage page(std::string_view text) {
  auto parsed = MetricsPage::parse(text);
  EXPECT_TRUE(parsed.has_value());
  return parsed ? *parsed : MetricsPage();
}

constexpr const char* kBefore =
    "vllm:generation_tokens_total{m=\"a\"} 100\nvllm:request_success_total{r=\"stop\"} 4\n"
    "vllm:time_to_first_token_seconds_bucket{le=\"0.1\"} 4\n"
    "vllm:time_to_first_token_seconds_bucket{le=\"+Inf\"} 4\n";
constexpr const char* kAfter =
    "vllm:generation_tokens_total{m=\"a\"} 300\nvllm:request_success_total{r=\"stop\"} 6\n"
    "vllm:request_success_total{r=\"length\"} 2\n"
    "vllm:time_to_first_token_seconds_bucket{le=\"0.1\"} 8\n"
    "vllm:time_to_first_token_seconds_bucket{le=\"+Inf\"} 8\n"
    "vllm:num_requests_running 3\nvllm:num_requests_waiting 1\nvllm:gpu_cache_usage_perc 0.25\n";

TEST(TopView, FiguresOfTwoLooks) {
  const MetricsPage before = page(kBefore);
  const MetricsPage after = page(kAfter);
  const Figures figures = figures_between(&before, after, 2);
  EXPECT_DOUBLE_EQ(*figures.tokens, 100);
  EXPECT_DOUBLE_EQ(*figures.requests, 2);
  EXPECT_DOUBLE_EQ(*figures.running, 3);
  EXPECT_DOUBLE_EQ(*figures.cache_used, 0.25);
  EXPECT_DOUBLE_EQ(*figures.ttft_p50, 0.05);
  const Figures first = figures_between(nullptr, after, 0);
  EXPECT_FALSE(first.tokens.has_value());
  EXPECT_DOUBLE_EQ(*first.waiting, 1);
  // A replica that began anew counts from zero.
  EXPECT_DOUBLE_EQ(*figures_between(&after, before, 1).tokens, 100);
}

TEST(TopView, ReplicasStandBelowTheirService) {
  const json::value services = *parse_json(
      R"({"items":[{"metadata":{"name":"b","namespace":"n"},"status":{"conditions":[{"type":
          "Ready","status":"False","reason":"NoRoom"}],"sluice":{"rollout":{"candidate":"b-2",
          "weight":20}}}},{"metadata":{"name":"a","namespace":"n"}}]})");
  const json::value replicas = *parse_json(
      R"({"items":[{"metadata":{"name":"b-1-x","namespace":"n","labels":{
          "serving.kserve.io/inferenceservice":"b"}},"status":{"phase":"Ready","restarts":2}},
          {"metadata":{"name":"lost","namespace":"m","labels":{
          "serving.kserve.io/inferenceservice":"b"}}},{"metadata":{}}]})");
  auto rows = service_rows(services.as_object(), replicas.as_object());
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].name, "a");
  EXPECT_EQ(rows[0].ready, "Unknown");
  ASSERT_EQ(rows[1].replicas.size(), 1u);
  EXPECT_EQ(rows[1].ready_replicas(), 1u);
  rows[1].replicas[0].figures.tokens = 12.5;
  const std::string text = top_text(rows, "title");
  EXPECT_TRUE(text.contains("n/b")) << text;
  EXPECT_TRUE(text.contains("NoRoom (20 % new)")) << text;
  EXPECT_TRUE(text.contains("2 restarts")) << text;
  const json::value out = top_json(rows);
  EXPECT_EQ(out.at("services").at(1).at("tokensPerSecond"), json::value(12.5));
  EXPECT_TRUE(out.at("services").at(0).at("tokensPerSecond").is_null());
  EXPECT_TRUE(top_text({}, "title").contains("sluice apply"));
}

}  // namespace
}  // namespace sluice::cli
