#include "telemetry/metrics_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

namespace sluice::telemetry {
namespace {

// Sums of so many stay finite.
constexpr double kMaxValue = 1e18;

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || at != text.data() + text.size()) return std::nullopt;
  if (!(std::abs(value) <= kMaxValue)) return std::nullopt;
  return value;
}

// The value of the label `le`; labels' values may hold escaped quotes.
std::optional<double> bound_of(std::string_view labels) {
  const size_t at = labels.find("le=\"");
  if (at == std::string_view::npos) return std::nullopt;
  if (at != 0 && labels[at - 1] != ',' && labels[at - 1] != '{') return std::nullopt;
  const size_t begin = at + 4;
  const size_t end = labels.find('"', begin);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view bound = labels.substr(begin, end - begin);
  return bound == "+Inf" ? std::numeric_limits<double>::infinity() : number_of(bound);
}

// Where the labels end: a brace that stands in no value.
size_t end_of_labels(std::string_view line, size_t open) {
  bool quoted = false;
  for (size_t i = open + 1; i < line.size(); ++i) {
    if (quoted && line[i] == '\\') {
      ++i;
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == '}' && !quoted) {
      return i;
    }
  }
  return std::string_view::npos;
}

struct Sample {
  std::string_view name;
  std::string_view labels;
  double value = 0;
};

std::optional<Sample> sample_of(std::string_view line) {
  if (line.empty() || line.front() == '#') return std::nullopt;
  Sample out;
  size_t rest = line.find_first_of("{ ");
  if (rest == 0 || rest == std::string_view::npos) return std::nullopt;
  out.name = line.substr(0, rest);
  if (line[rest] == '{') {
    const size_t close = end_of_labels(line, rest);
    if (close == std::string_view::npos) return std::nullopt;
    out.labels = line.substr(rest, close - rest);
    rest = close + 1;
  }
  while (rest < line.size() && line[rest] == ' ') ++rest;
  const auto value = number_of(line.substr(rest, line.find(' ', rest) - rest));
  if (!value) return std::nullopt;
  out.value = *value;
  return out;
}

}  // namespace

Result<MetricsPage> MetricsPage::parse(std::string_view text) {
  if (text.size() > kMaxBytes) {
    return fail(Code::kTooLarge, fmt::format("a page of metrics of {} bytes", text.size()));
  }
  MetricsPage page;
  size_t samples = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto sample = sample_of(line);
    if (!sample) continue;
    if (++samples > kMaxSamples) {
      return fail(Code::kTooLarge, fmt::format("more than {} metrics", kMaxSamples));
    }
    auto found = page.families_.find(sample->name);
    if (found == page.families_.end()) {
      found =
          page.families_.emplace(std::string(sample->name), Family{.largest = sample->value}).first;
    }
    Family& family = found->second;
    family.sum += sample->value;
    family.largest = std::max(family.largest, sample->value);
    if (const auto bound = bound_of(sample->labels)) family.buckets[*bound] += sample->value;
  }
  return page;
}

double MetricsPage::sum(std::string_view name) const {
  const auto found = families_.find(name);
  return found == families_.end() ? 0 : found->second.sum;
}

std::optional<double> MetricsPage::largest(std::string_view name) const {
  const auto found = families_.find(name);
  if (found == families_.end()) return std::nullopt;
  return found->second.largest;
}

MetricsPage::Buckets MetricsPage::buckets(std::string_view histogram) const {
  const auto found = families_.find(fmt::format("{}_bucket", histogram));
  return found == families_.end() ? Buckets() : found->second.buckets;
}

std::optional<double> quantile_between(const MetricsPage::Buckets& before,
                                       const MetricsPage::Buckets& after, double q) {
  if (after.empty()) return std::nullopt;
  const auto come = [&before](const MetricsPage::Buckets::value_type& bucket) {
    const auto was = before.find(bucket.first);
    return bucket.second - (was == before.end() ? 0 : was->second);
  };
  const double all = come(*after.rbegin());
  if (!(all > 0)) return std::nullopt;
  double below = 0;
  double bound = 0;
  for (const auto& bucket : after) {
    const double here = come(bucket);
    if (here >= q * all) {
      // Above the last bound nothing is known but that.
      if (std::isinf(bucket.first) || here <= below) return bound;
      return bound + (bucket.first - bound) * (q * all - below) / (here - below);
    }
    below = here;
    bound = bucket.first;
  }
  return bound;
}

}  // namespace sluice::telemetry
