// Spans as an OTLP export request: protobuf, as OTLP/HTTP carries it to /v1/traces.
//
// Source: opentelemetry-proto 1.x, collector.trace.v1.ExportTraceServiceRequest. The few messages
// that spans need are written by hand; a test decodes them by the published definitions.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "telemetry/span.h"

namespace sluice::telemetry {

inline constexpr std::string_view kOtlpContentType = "application/x-protobuf";

// `resource` says what process the spans are from.
std::string encode_spans(const std::vector<Attribute>& resource, std::span<const Span> spans);

}  // namespace sluice::telemetry
