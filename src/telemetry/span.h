// A span: one hop of a request, with what is known of it when it is over.
//
// Attributes hold names, counts and times; never a prompt, an answer or a key.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "telemetry/trace_context.h"

namespace sluice::telemetry {

using AttributeValue = std::variant<bool, int64_t, double, std::string, std::vector<std::string>>;

struct Attribute {
  std::string name;
  AttributeValue value;
};

// In the order of the protocol's numbers, which begin with 1.
enum class SpanKind { kInternal, kServer, kClient };

struct SpanEvent {
  int64_t unix_nanos = 0;
  std::string name;
  std::vector<Attribute> attributes = {};
};

struct Span {
  SpanContext context;
  SpanId parent{};  // zeros: the trace begins here
  std::string name;
  SpanKind kind = SpanKind::kInternal;
  int64_t begin_unix_nanos = 0;
  int64_t end_unix_nanos = 0;
  std::vector<Attribute> attributes;
  std::vector<SpanEvent> events;
  bool failed = false;
  std::string message;  // why it failed: a fixed word

  void set(std::string attribute, AttributeValue value) {
    attributes.push_back({std::move(attribute), std::move(value)});
  }
};

}  // namespace sluice::telemetry
