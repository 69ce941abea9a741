#include "gateway/outliers.h"

#include <algorithm>
#include <utility>

namespace sluice::gateway {
namespace {

// Of the other replicas; 0 when too few are known.
Duration median_of_others(std::span<const ReplicaSample> samples, size_t self, int min_requests) {
  std::vector<Duration> known;
  for (size_t i = 0; i < samples.size(); ++i) {
    const bool counts = i != self && !samples[i].ejected && samples[i].requests >= min_requests;
    if (counts && samples[i].mean_first_token > Duration::zero()) {
      known.push_back(samples[i].mean_first_token);
    }
  }
  if (known.empty()) return {};
  const auto middle = known.begin() + static_cast<ptrdiff_t>(known.size() / 2);
  std::ranges::nth_element(known, middle);
  return *middle;
}

}  // namespace

std::vector<size_t> find_outliers(std::span<const ReplicaSample> samples,
                                  const plan::OutlierPlan& settings) {
  std::vector<std::pair<double, size_t>> bad;
  size_t ejected = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const ReplicaSample& sample = samples[i];
    if (sample.ejected) {
      ++ejected;
      continue;
    }
    if (sample.requests < settings.min_requests) continue;
    const double failing = static_cast<double>(sample.failures) / sample.requests;
    if (failing >= settings.failure_ratio) {
      bad.emplace_back(1 + failing, i);
      continue;
    }
    if (settings.latency_factor <= 0) continue;
    const Duration median = median_of_others(samples, i, settings.min_requests);
    if (median <= Duration::zero()) continue;
    const double slower = to_seconds(sample.mean_first_token) / to_seconds(median);
    if (slower >= settings.latency_factor) bad.emplace_back(1 - 1 / slower, i);
  }
  std::ranges::sort(bad, std::greater<>());
  const size_t most =
      std::min(samples.size() * static_cast<size_t>(settings.max_ejected_percent) / 100,
               samples.empty() ? 0 : samples.size() - 1);
  std::vector<size_t> found;
  for (const auto& [badness, index] : bad) {
    if (ejected + found.size() >= most) break;
    found.push_back(index);
  }
  return found;
}

}  // namespace sluice::gateway
