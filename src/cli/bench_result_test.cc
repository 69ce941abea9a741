#include "cli/bench_result.h"

#include <gtest/gtest.h>

namespace sluice::cli {
namespace {

RequestRecord record(double start, std::vector<double> times) {
  RequestRecord r;
  r.start = start;
  r.token_times = std::move(times);
  r.end = r.token_times.back();
  r.output_tokens = static_cast<int>(r.token_times.size());
  r.input_tokens = 10;
  return r;
}

double at(const json::object& summary, const char* series, const char* name) {
  return summary.at(series).as_object().at(name).to_number<double>();
}

TEST(Summary, FollowsTheDefinitions) {
  std::vector<RequestRecord> records = {record(1.0, {1.5, 1.6, 1.9}), record(2.0, {2.25})};
  records.emplace_back();
  records.back().error = "HTTP 429";
  const json::object s = summarize(records, 4.0, {.ttft_ms = 300});
  EXPECT_DOUBLE_EQ(at(s, "ttft_ms", "mean"), 375);
  EXPECT_NEAR(at(s, "tpot_ms", "mean"), 200, 1e-9);  // the one-token request is left out
  EXPECT_EQ(at(s, "tpot_ms", "count"), 1);
  EXPECT_EQ(at(s, "itl_ms", "count"), 2);
  EXPECT_NEAR(at(s, "e2el_ms", "p50"), 575, 1e-9);
  EXPECT_DOUBLE_EQ(s.at("output_tokens_per_second").to_number<double>(), 1.0);
  EXPECT_DOUBLE_EQ(s.at("goodput_requests_per_second").to_number<double>(), 0.25);
  EXPECT_EQ(s.at("errors").as_object().at("HTTP 429").to_number<int>(), 1);
  EXPECT_NE(show_summary(s).find("TTFT"), std::string::npos);
}

}  // namespace
}  // namespace sluice::cli
