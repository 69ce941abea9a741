// MetricsPage: a page in Prometheus' text format, read for sums and quantiles.
//
// Foreign text with limits: lines that are no samples are passed over, other than names and labels
// nothing is kept. Plain value.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice::telemetry {

class MetricsPage {
 public:
  static constexpr size_t kMaxBytes = 8u << 20;
  static constexpr size_t kMaxSamples = 100'000;

  static Result<MetricsPage> parse(std::string_view text);

  // Over all series of the name; 0 where there is none.
  double sum(std::string_view name) const;
  std::optional<double> largest(std::string_view name) const;
  bool has(std::string_view name) const { return families_.contains(name); }

  // Counts at or below each bound, over all series of the histogram (the name without _bucket).
  using Buckets = std::map<double, double>;
  Buckets buckets(std::string_view histogram) const;

 private:
  struct Family {
    double sum = 0;
    double largest = 0;
    Buckets buckets = {};  // by "le"
  };
  std::map<std::string, Family, std::less<>> families_;
};

// As Prometheus' histogram_quantile over what came between two looks. Nothing without a sample.
std::optional<double> quantile_between(const MetricsPage::Buckets& before,
                                       const MetricsPage::Buckets& after, double q);

}  // namespace sluice::telemetry
