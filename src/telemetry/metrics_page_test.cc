#include "telemetry/metrics_page.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace sluice::telemetry {
namespace {

MetricsPage page(std::string_view text) {
  auto parsed = MetricsPage::parse(text);
  EXPECT_TRUE(parsed.has_value());
  return parsed ? *parsed : MetricsPage();
}

TEST(MetricsPage, SumsAndBuckets) {
  const MetricsPage read = page(
      "# HELP a text\n# TYPE a counter\na{m=\"x\"} 1\na{m=\"y,}\\\"{\"} 2.5 1700000000\nb 7\n"
      "h_bucket{m=\"x\",le=\"0.5\"} 1\nh_bucket{m=\"x\",le=\"+Inf\"} 3\n"
      "h_bucket{m=\"y\",le=\"0.5\"} 2\nh_bucket{m=\"y\",le=\"+Inf\"} 2\r\n");
  EXPECT_DOUBLE_EQ(read.sum("a"), 3.5);
  EXPECT_DOUBLE_EQ(*read.largest("a"), 2.5);
  EXPECT_DOUBLE_EQ(read.sum("b"), 7);
  EXPECT_FALSE(read.has("c"));
  const auto buckets = read.buckets("h");
  ASSERT_EQ(buckets.size(), 2u);
  EXPECT_DOUBLE_EQ(buckets.at(0.5), 3);
  EXPECT_DOUBLE_EQ(buckets.rbegin()->second, 5);
}

TEST(MetricsPage, OddLinesArePassedOver) {
  const MetricsPage read = page("\n{\n a 1\na\na{\na{le=\"x\na{} \nb{x=\"} 1\nc NaN\nd{} 4\n# e 5");
  EXPECT_FALSE(read.has("a"));
  EXPECT_FALSE(read.has("b"));
  EXPECT_FALSE(read.has("c"));
  EXPECT_DOUBLE_EQ(read.sum("d"), 4);
  EXPECT_FALSE(MetricsPage::parse(std::string(MetricsPage::kMaxBytes + 1, 'x')).has_value());
}

TEST(MetricsPage, QuantilesBetweenTwoLooks) {
  const MetricsPage::Buckets before{{1, 10}, {2, 10}, {INFINITY, 10}};
  const MetricsPage::Buckets after{{1, 20}, {2, 30}, {INFINITY, 30}};
  EXPECT_DOUBLE_EQ(*quantile_between(before, after, 0.5), 1.0);
  EXPECT_DOUBLE_EQ(*quantile_between(before, after, 0.75), 1.5);
  EXPECT_FALSE(quantile_between(after, after, 0.5).has_value());
  const MetricsPage::Buckets late{{1, 10}, {2, 10}, {INFINITY, 14}};
  EXPECT_DOUBLE_EQ(*quantile_between(before, late, 0.5), 2.0);
  EXPECT_FALSE(quantile_between({}, {}, 0.5).has_value());
}

}  // namespace
}  // namespace sluice::telemetry
