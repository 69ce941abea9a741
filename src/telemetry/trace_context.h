// Which trace something belongs to, as it travels between processes in the header traceparent.
//
// Source: W3C Trace Context, level 1. Pure functions on foreign text; ids are random.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::telemetry {

using TraceId = std::array<uint8_t, 16>;
using SpanId = std::array<uint8_t, 8>;

struct SpanContext {
  TraceId trace{};
  SpanId span{};
  bool sampled = false;  // whoever began the trace wants it kept

  bool valid() const { return trace != TraceId{} && span != SpanId{}; }
  bool operator==(const SpanContext&) const = default;
};

// Nothing when the text is no traceparent. Of versions to come the part that is known is read.
std::optional<SpanContext> parse_traceparent(std::string_view text);
// "00-TRACE-SPAN-01"
std::string to_traceparent(const SpanContext& context);
std::string to_hex(const TraceId& id);

// Never all zeros. Any thread.
TraceId new_trace_id();
SpanId new_span_id();

}  // namespace sluice::telemetry
