#include "telemetry/tracer.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace sluice::telemetry {

bool Sampler::samples(const TraceId& trace, const std::optional<SpanContext>& parent) const {
  if (parent_based && parent) return parent->sampled;
  if (rule != Rule::kRatio) return rule == Rule::kAlways;
  // The last 56 bits of the id are random; they are compared with the ratio as a fraction.
  uint64_t random = 0;
  for (size_t i = 9; i < trace.size(); ++i) random = random << 8 | trace[i];
  return static_cast<double>(random) < ratio * std::ldexp(1.0, 56);
}

Result<Sampler> parse_sampler(std::string_view name, std::string_view argument) {
  constexpr std::string_view kParentBased = "parentbased_";
  Sampler sampler;
  if (name.empty()) return sampler;
  std::string_view rest = name;
  sampler.parent_based = rest.starts_with(kParentBased);
  if (sampler.parent_based) rest.remove_prefix(kParentBased.size());
  if (rest == "always_on") return sampler;
  if (rest == "always_off") {
    sampler.rule = Sampler::Rule::kNever;
    return sampler;
  }
  if (rest != "traceidratio") {
    return invalid(fmt::format(
        "OTEL_TRACES_SAMPLER: expected always_on, always_off or traceidratio, each of them with "
        "parentbased_ before it or not; found '{}'",
        name));
  }
  sampler.rule = Sampler::Rule::kRatio;
  if (argument.empty()) return sampler;
  const char* end = argument.data() + argument.size();
  const auto [at, error] =
      std::from_chars(argument.data(), argument.data() + argument.size(), sampler.ratio);
  if (error != std::errc() || at != end || !(sampler.ratio >= 0 && sampler.ratio <= 1)) {
    return invalid(
        fmt::format("OTEL_TRACES_SAMPLER_ARG: expected a share from 0 to 1, found '{}'", argument));
  }
  return sampler;
}

SpanContext Tracer::begin(const std::optional<SpanContext>& parent) const {
  SpanContext context{.trace = parent ? parent->trace : new_trace_id(), .span = new_span_id()};
  context.sampled = sampler_.samples(context.trace, parent);
  return context;
}

int64_t Tracer::unix_nanos(TimePoint at) const {
  const double now = clock_.unix_seconds();
  const auto whole = static_cast<int64_t>(now);
  const auto part = static_cast<int64_t>((now - static_cast<double>(whole)) * 1e9);
  return whole * 1'000'000'000 + part - (clock_.now() - at).count();
}

}  // namespace sluice::telemetry
