// Scale traces: the autoscaler's decisions as lines of JSON that tools/oracles/kpa.py reads: the
// options of a service, then each tick with the samples that were new. Logged at debug behind
// kScaleTrace and the revision's name; tests/scale compares them with the oracle.
//
//   {"options": {"target": 0.7, …}, "how": "new"}     or "changed", "resumed": as a controller that
//                                                     takes over; the oracle knows "new" only
//   {"now": 12, "samples": {"10": 1.5}, "ready": 1, "desired": 2, "panic": false}
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "control/kpa.h"

namespace sluice::platform {

inline constexpr std::string_view kScaleTrace = "scale trace of";

struct ScaleTick {
  int64_t now = 0;                           // seconds
  const std::map<int64_t, double>& samples;  // by second
  int ready = 0;
};

std::string options_line(const control::KpaOptions& options, std::string_view how);
std::string decision_line(const ScaleTick& tick, const control::KpaDecision& decision);

}  // namespace sluice::platform
