#include "plan/load_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>

namespace sluice::plan {
namespace {

LoadReport full_report() {
  UpstreamLoad load{.name = "default/m-predictor-00001",
                    .concurrency = 1.25,
                    .in_flight = 3,
                    .held = 1,
                    .arrived = 4,
                    .usable = 2,
                    .answered = 2,
                    .failed = 1,
                    .refused = 1,
                    .prompt_tokens = 70,
                    .completion_tokens = 31,
                    .waiting_first = {{120, 0}, {4, 2}}};
  load.ttft.add(33.5, 2);
  load.latency.add(1000);
  load.stream_rate.add(0.2);
  return {.gateway = "gw-1", .second = 1'700'000'000, .upstreams = {load, {.name = "idle"}}};
}

std::string refusal(const std::string& text) {
  const auto report = parse_load_report(text);
  return report ? "" : report.error().message();
}

TEST(LogHistogram, BucketsCoverTheirBounds) {
  for (int bucket = LogHistogram::kFirst; bucket <= LogHistogram::kLast; ++bucket) {
    const double middle = std::exp2((bucket + 0.5) / 4);
    EXPECT_EQ(LogHistogram::bucket_of(middle), bucket);
    EXPECT_LE(LogHistogram::lower_bound(bucket), middle);
  }
  EXPECT_EQ(LogHistogram::bucket_of(0), LogHistogram::kFirst);
  EXPECT_EQ(LogHistogram::bucket_of(-1), LogHistogram::kFirst);
  EXPECT_EQ(LogHistogram::bucket_of(std::nan("")), LogHistogram::kFirst);
  EXPECT_EQ(LogHistogram::bucket_of(1e300), LogHistogram::kLast);
  EXPECT_EQ(LogHistogram::bucket_of(std::numeric_limits<double>::infinity()), LogHistogram::kLast);
}

TEST(LogHistogram, QuantilesAreWithinABucketOfTheTruth) {
  LogHistogram all;
  EXPECT_FALSE(all.quantile(0.5));
  for (int i = 1; i <= 1000; ++i) all.add(i);
  for (const double q : {0.1, 0.5, 0.9, 0.99}) {
    EXPECT_NEAR(std::log2(*all.quantile(q)), std::log2(1000 * q), 0.25) << q;
  }
  EXPECT_LE(*all.quantile(0), *all.quantile(1));
  EXPECT_LE(*all.quantile(1), 1024.1);
}

TEST(LogHistogram, MergedIsAsIfCountedTogether) {
  LogHistogram a;
  LogHistogram b;
  LogHistogram both;
  for (int i = 1; i < 50; ++i) {
    a.add(i);
    b.add(7 * i);
    both.add(i);
    both.add(7 * i);
  }
  a.merge(b);
  EXPECT_EQ(a, both);
  EXPECT_EQ(a.count(), 98u);
  a.add(3, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(a.count(), std::numeric_limits<uint64_t>::max());
}

TEST(LoadReport, IsReadAsItWasWritten) {
  const LoadReport report = full_report();
  const auto again = parse_load_report(to_json(report));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, report);
  // What is zero is left out.
  EXPECT_TRUE(to_json(report).contains(R"({"name":"idle"})"));

  const LoadReport wake{.gateway = "gw-1", .wake = {"a/b", "c"}};
  EXPECT_EQ(*parse_load_report(to_json(wake)), wake);
  for (const char* id : {"p", ""}) {
    const LoadReport plan{.gateway = "gw-1", .plan_id = id};
    EXPECT_EQ(*parse_load_report(to_json(plan)), plan);
  }
  const LoadReport ended{.gateway = "gw-1", .ended = true};
  EXPECT_EQ(*parse_load_report(to_json(ended)), ended);
}

TEST(LoadReport, ComesInPartsThatHoldAllOfIt) {
  LoadReport report{.gateway = "gw-1", .second = 5};
  for (int i = 0; i < 2000; ++i) {
    UpstreamLoad load = full_report().upstreams.front();
    load.name = "u" + std::to_string(i);
    for (int bucket = 0; bucket < 60; ++bucket) load.latency.add_bucket(bucket, 1'000'000);
    report.upstreams.push_back(std::move(load));
  }
  const auto parts = to_json_parts(report);
  EXPECT_GT(parts.size(), 1u);
  LoadReport joined{.gateway = "gw-1", .second = 5};
  for (const std::string& part : parts) {
    EXPECT_LE(part.size(), kMaxLoadReportBytes);
    auto read = parse_load_report(part);
    ASSERT_TRUE(read) << read.error().message();
    std::ranges::move(read->upstreams, std::back_inserter(joined.upstreams));
  }
  EXPECT_EQ(joined, report);
  EXPECT_EQ(to_json_parts({.gateway = "g", .second = 1}).size(), 1u);
}

TEST(LoadReport, ComplaintsNameThePlace) {
  EXPECT_TRUE(refusal("[]").contains("expected an object"));
  EXPECT_TRUE(refusal(R"({"second":1,"upstreams":[]})").contains("gateway: is required"));
  EXPECT_TRUE(refusal(R"({"gateway":"g"})").contains("exactly one of"));
  EXPECT_TRUE(refusal(R"({"gateway":"g","second":1})").contains("go together"));
  EXPECT_TRUE(refusal(R"({"gateway":"g","wake":["a"],"ended":true})").contains("exactly one of"));
  EXPECT_TRUE(refusal(R"({"gateway":"g","ended":false})").contains("ended"));
  EXPECT_TRUE(refusal(R"({"gateway":"g","more":1})").contains("more: there is no such field"));
  EXPECT_TRUE(refusal(R"({"gateway":"g h","ended":true})").contains("gateway"));
  EXPECT_TRUE(refusal(R"({"gateway":"g","plan_id":"p","ended":true})").contains("exactly one of"));
  EXPECT_TRUE(refusal(R"({"gateway":"g","plan_id":"p q"})").contains("plan_id"));
  EXPECT_TRUE(refusal(R"({"gateway":"g","plan_id":7})").contains("plan_id"));
  const auto upstream = [](const std::string& fields) {
    return refusal(R"({"gateway":"g","second":1,"upstreams":[{)" + fields + "}]}");
  };
  EXPECT_EQ(upstream(R"("name":"a")"), "");
  EXPECT_TRUE(upstream("").contains("upstreams[0].name: is required"));
  EXPECT_TRUE(upstream(R"("name":"a","held":-1)").contains("upstreams[0].held"));
  EXPECT_TRUE(upstream(R"("name":"a","arrived":1.5)").contains("upstreams[0].arrived"));
  EXPECT_TRUE(upstream(R"("name":"a","concurrency":-0.5)").contains("concurrency"));
  EXPECT_TRUE(upstream(R"("name":"a","ttft":{"128":1})").contains("buckets from"));
  EXPECT_TRUE(upstream(R"("name":"a","ttft":{"01":1})").contains("buckets from"));
  EXPECT_TRUE(upstream(R"("name":"a","waiting_first":[[1]])").contains("waiting_first"));
  EXPECT_TRUE(upstream(R"("name":"a","what":1)").contains("upstreams[0].what"));
  EXPECT_TRUE(upstream(R"("name":"a"},{"name":"a")").contains("twice"));
}

}  // namespace
}  // namespace sluice::plan
