#include "platform/scale_trace.h"

#include <fmt/format.h>

namespace sluice::platform {

// By fmt, whose shortest text of a number is read back as the same number.
std::string options_line(const control::KpaOptions& options, std::string_view how) {
  return fmt::format(
      R"({{"options": {{"target": {}, "stable_window": {}, "panic_window": {}, )"
      R"("panic_threshold": {}, "max_scale_up_rate": {}, "max_scale_down_rate": {}, )"
      R"("scale_to_zero_grace": {}, "scale_down_delay": {}, "min_scale": {}, "max_scale": {}, )"
      R"("initial_scale": {}, "capacity": {}, "burst_target": {}}}, "how": "{}"}})",
      options.target, options.stable_window.count(), options.panic_window.count(),
      options.panic_threshold, options.max_scale_up_rate, options.max_scale_down_rate,
      options.scale_to_zero_grace.count(), options.scale_down_delay.count(), options.min_scale,
      options.max_scale, options.initial_scale, options.capacity, options.burst_target, how);
}

std::string decision_line(const ScaleTick& tick, const control::KpaDecision& decision) {
  std::string samples;
  for (const auto& [second, load] : tick.samples) {
    samples += fmt::format(R"({}"{}": {})", samples.empty() ? "" : ", ", second, load);
  }
  return fmt::format(R"({{"now": {}, "samples": {{{}}}, "ready": {}, "desired": {}, "panic": {}}})",
                     tick.now, samples, tick.ready, decision.desired, decision.panicking);
}

}  // namespace sluice::platform
