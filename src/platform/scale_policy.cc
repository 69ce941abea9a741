#include "platform/scale_policy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <utility>

#include "control/json_util.h"

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
constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr unsigned kWholeWeek = 0x7F;
constexpr int kDayMinutes = 24 * 60;

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
    const ScaleSchedule schedule{.days = days.empty() ? kWholeWeek : parse_days(days),
                                 .from = parse_minutes(text_at(*fields, "from")),
                                 .to = parse_minutes(text_at(*fields, "to")),
                                 .min_replicas = static_cast<int>(std::clamp<int64_t>(
                                     integer_at(*fields, "minReplicas").value_or(0), 0, 1000))};
    if (schedule.days != 0 && schedule.from >= 0 && schedule.to >= 0) {
      policy.schedules.push_back(schedule);
    }
  }
}

unsigned day_of(std::string_view text) {
  const auto* const found = std::ranges::find(kDays, text);
  return static_cast<unsigned>(found - kDays.begin());
}

unsigned days_of_range(std::string_view text) {
  const size_t dash = text.find('-');
  const unsigned first = day_of(text.substr(0, dash));
  const unsigned last = dash == std::string_view::npos ? first : day_of(text.substr(dash + 1));
  if (first >= kDays.size() || last >= kDays.size()) return 0;
  unsigned days = 0;
  for (unsigned day = first;; day = (day + 1) % 7) {
    days |= 1u << day;
    if (day == last) return days;
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

unsigned parse_days(std::string_view text) {
  unsigned days = 0;
  while (true) {
    const size_t comma = text.find(',');
    std::string_view part = text.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    const unsigned some = days_of_range(part);
    if (some == 0) return 0;
    days |= some;
    if (comma == std::string_view::npos) return days;
    text.remove_prefix(comma + 1);
  }
}

int parse_minutes(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return -1;
  int hours = 0;
  int minutes = 0;
  const auto number = [](std::string_view digits, int& value) {
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
  };
  if (!number(text.substr(0, 2), hours) || !number(text.substr(3), minutes)) return -1;
  if (hours < 0 || hours > 24 || minutes < 0 || minutes > 59) return -1;
  const int at = hours * 60 + minutes;
  return at > kDayMinutes ? -1 : at;
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
