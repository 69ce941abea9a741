#include "platform/scale_policy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <utility>

#include "control/json_util.h"
#include "control/schedule.h"

namespace sluice::platform {

using control::integer_at;
using control::KpaOptions;
using control::number_at;
using control::text_at;

namespace {

constexpr std::array<std::pair<std::string_view, ScaleMetric>, 7> kMetrics = {{
    {"concurrency", ScaleMetric::kConcurrency},
    {"rps", ScaleMetric::kRps},
    {"queuedTokens", ScaleMetric::kQueuedTokens},
    {"kvCache", ScaleMetric::kKvCache},
    {"ttft", ScaleMetric::kTtft},
    {"cpu", ScaleMetric::kCpu},
    {"memory", ScaleMetric::kMemory},
}};
constexpr unsigned kWholeWeek = 0x7F;

double default_target(ScaleMetric metric) {
  switch (metric) {
    case ScaleMetric::kRps:
      return control::kDefaultRpsTarget;
    case ScaleMetric::kQueuedTokens:
      return 4096;
    case ScaleMetric::kKvCache:
      return 0.8;
    case ScaleMetric::kTtft:
      return 1000;
    case ScaleMetric::kCpu:
    case ScaleMetric::kMemory:
      return 80;
    case ScaleMetric::kConcurrency:
      break;
  }
  return control::kDefaultConcurrencyTarget;
}

std::chrono::seconds seconds_in(const json::object& scaling, std::string_view key,
                                std::chrono::seconds fallback) {
  const auto stated = number_at(scaling, key);
  if (!stated) return fallback;
  return std::chrono::seconds(static_cast<int64_t>(std::clamp(*stated, 0.0, 3600.0)));
}

void read_scaling(const json::object& scaling, ScalePolicy& policy) {
  using std::chrono::seconds;
  KpaOptions& kpa = policy.kpa;
  kpa.stable_window =
      std::max(seconds(6), seconds_in(scaling, "stableWindowSeconds", kpa.stable_window));
  const double percent = number_at(scaling, "panicWindowPercent")
                             .value_or(static_cast<double>(control::kDefaultPanicPercent));
  kpa.panic_window = control::panic_window_of(kpa.stable_window,
                                              static_cast<int>(std::clamp(percent, 1.0, 100.0)));
  if (const auto stated = number_at(scaling, "panicThresholdPercent")) {
    kpa.panic_threshold = std::max(1.1, *stated / 100);
  }
  const auto rate = [&](std::string_view key, double fallback) {
    return std::clamp(number_at(scaling, key).value_or(fallback), 1.1, 1000.0);
  };
  kpa.max_scale_up_rate = rate("maxScaleUpRate", kpa.max_scale_up_rate);
  kpa.max_scale_down_rate = rate("maxScaleDownRate", kpa.max_scale_down_rate);
  kpa.scale_down_delay = seconds_in(scaling, "scaleDownDelaySeconds", kpa.scale_down_delay);
  kpa.scale_to_zero_grace = seconds_in(scaling, "scaleToZeroGraceSeconds", kpa.scale_to_zero_grace);
  policy.activation = static_cast<int>(
      std::clamp<int64_t>(integer_at(scaling, "activationReplicas").value_or(1), 1, 1000));
  const auto* schedules = control::array_at(scaling, "schedules");
  for (size_t i = 0; schedules != nullptr && i < schedules->size(); ++i) {
    const auto* fields = (*schedules)[i].if_object();
    if (fields == nullptr) continue;
    const std::string_view days = text_at(*fields, "days");
    const ScaleSchedule schedule{.days = days.empty() ? kWholeWeek : control::parse_days(days),
                                 .from = control::parse_minutes(text_at(*fields, "from")),
                                 .to = control::parse_minutes(text_at(*fields, "to")),
                                 .min_replicas = static_cast<int>(std::clamp<int64_t>(
                                     integer_at(*fields, "minReplicas").value_or(0), 0, 1000))};
    if (schedule.days != 0 && schedule.from >= 0 && schedule.to >= 0) {
      policy.schedules.push_back(schedule);
    }
  }
}

}  // namespace

std::string_view metric_name(ScaleMetric metric) {
  return std::ranges::find(kMetrics, metric, [](const auto& each) { return each.second; })->first;
}

ScalePolicy scale_policy(const json::object& service_spec, const json::object& component,
                         Component kind) {
  ScalePolicy policy;
  const auto* scaling =
      kind == Component::kPredictor ? control::object_at(service_spec, "sluice.scaling") : nullptr;
  std::string_view metric = scaling == nullptr ? "" : text_at(*scaling, "metric");
  if (metric.empty()) metric = text_at(component, "scaleMetric");
  for (const auto& [name, each] : kMetrics) {
    if (name == metric) policy.metric = each;
  }
  const auto limit = static_cast<double>(
      std::max<int64_t>(0, integer_at(component, "containerConcurrency").value_or(0)));
  const bool concurrency = policy.metric == ScaleMetric::kConcurrency;
  policy.target = concurrency && limit > 0 ? limit : default_target(policy.metric);
  auto stated = number_at(component, "scaleTarget");
  if (scaling != nullptr && scaling->contains("target")) stated = number_at(*scaling, "target");
  if (stated && *stated > 0) policy.target = *stated;
  // No replica takes more at a time than it is allowed to.
  if (concurrency && limit > 0) policy.target = std::min(policy.target, limit);
  if (policy.metric == ScaleMetric::kKvCache) policy.target = std::min(policy.target, 1.0);
  if (scaling != nullptr) read_scaling(*scaling, policy);
  const bool plain = concurrency || policy.metric == ScaleMetric::kRps;
  policy.kpa.target = (plain ? policy.target : 1.0) * control::kDefaultUtilization;
  if (concurrency && limit > 0) policy.kpa.capacity = limit;
  if (!plain) {
    policy.kpa.capacity = 1;
    policy.kpa.burst_target = 0;
  }
  return policy;
}

int scheduled_minimum(const std::vector<ScaleSchedule>& schedules, double unix_now) {
  if (schedules.empty()) return 0;
  const auto seconds = static_cast<std::time_t>(unix_now);
  std::tm local{};
  if (localtime_r(&seconds, &local) == nullptr) return 0;
  const int now = local.tm_hour * 60 + local.tm_min;
  const unsigned today = 1u << local.tm_wday;
  const unsigned yesterday = 1u << ((local.tm_wday + 6) % 7);
  int most = 0;
  for (const ScaleSchedule& each : schedules) {
    const bool over_midnight = each.to <= each.from;
    const bool began_today =
        (each.days & today) != 0 && now >= each.from && (over_midnight || now < each.to);
    const bool began_yesterday = over_midnight && (each.days & yesterday) != 0 && now < each.to;
    if (began_today || began_yesterday) most = std::max(most, each.min_replicas);
  }
  return most;
}

}  // namespace sluice::platform
