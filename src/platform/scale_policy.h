// ScalePolicy: how an InferenceService says that its replicas are counted: KServe's scaleMetric and
// scaleTarget, spec.sluice.scaling, schedules. docs/autoscaling.md has the rule behind it.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "control/kpa.h"
#include "platform/names.h"

namespace sluice::platform {

enum class ScaleMetric { kConcurrency, kRps, kQueuedTokens, kKvCache, kTtft, kCpu, kMemory };
std::string_view metric_name(ScaleMetric metric);

// At least so many replicas from `from` to `to`, minutes of the local day; over midnight when `to`
// is not later. `days`: bit 0 is Sunday; the day on which it begins.
struct ScaleSchedule {
  unsigned days = 0x7F;
  int from = 0;
  int to = 0;
  int min_replicas = 0;
  bool operator==(const ScaleSchedule&) const = default;
};

struct ScalePolicy {
  ScaleMetric metric = ScaleMetric::kConcurrency;
  // What one replica should carry, in the metric's own unit: requests, requests a second, tokens,
  // a share of its KV memory, milliseconds, percent of what it asks for.
  double target = control::kDefaultConcurrencyTarget;
  control::KpaOptions kpa;  // without the bounds of the scale
  int activation = 1;       // replicas when it wakes
  std::vector<ScaleSchedule> schedules;
};

// Values that no KPA takes are brought to the nearest that it does.
ScalePolicy scale_policy(const json::object& service_spec, const json::object& component,
                         Component kind);

// The largest of the schedules that hold now, by the machine's time zone.
int scheduled_minimum(const std::vector<ScaleSchedule>& schedules, double unix_now);

}  // namespace sluice::platform
