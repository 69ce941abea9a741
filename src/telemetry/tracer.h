// Tracer: decides which requests are traced, and takes their spans when they are over.
//
// A process without one traces nothing and pays nothing: whoever makes spans holds a pointer that
// is null then.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "telemetry/span.h"

namespace sluice::telemetry {

// The sampler of OTEL_TRACES_SAMPLER and its argument.
struct Sampler {
  enum class Rule { kAlways, kNever, kRatio };
  Rule rule = Rule::kAlways;
  double ratio = 1;          // of kRatio: by the trace id, the same in every process
  bool parent_based = true;  // a trace that began elsewhere is kept where it is kept there

  bool samples(const TraceId& trace, const std::optional<SpanContext>& parent) const;
};

// "parentbased_traceidratio" and its likes; empty: the default. `argument` is of the ratios.
Result<Sampler> parse_sampler(std::string_view name, std::string_view argument);

// Takes spans that are over. Any thread; never blocks.
class SpanSink {
 public:
  virtual ~SpanSink() = default;
  virtual void add(Span span) = 0;
};

// Any thread.
class Tracer {
 public:
  Tracer(Sampler sampler, SpanSink& sink, const Clock& clock = system_clock())
      : sampler_(sampler), sink_(sink), clock_(clock) {}

  // What begins under `parent`, or without one: of the same trace or of a new one.
  SpanContext begin(const std::optional<SpanContext>& parent) const;
  // Nothing becomes of a span that is not sampled.
  void end(Span span) const {
    if (span.context.sampled) sink_.add(std::move(span));
  }
  // By the wall clock, when it was `at` by the steady one.
  int64_t unix_nanos(TimePoint at) const;
  TimePoint now() const { return clock_.now(); }

 private:
  const Sampler sampler_;
  SpanSink& sink_;
  const Clock& clock_;
};

}  // namespace sluice::telemetry
