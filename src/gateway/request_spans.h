// The gateway's spans: one for a request at the door, one for each attempt at a replica.
//
// Names and counts only: no prompt, no answer, no key. Nothing here is called for requests that are
// not traced.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "gateway/record.h"
#include "gateway/replica.h"
#include "net/http.h"
#include "telemetry/tracer.h"

namespace sluice::gateway {

// Puts a request on record as part of its caller's trace, or of a new one. Gives what travels on
// where attempts have no spans of their own (W3C traceparent).
std::string begin_trace(const net::HttpRequest& request, const telemetry::Tracer* tracer,
                        RequestRecord& record);

// Of a request that is over and took so long.
telemetry::Span request_span(const telemetry::Tracer& tracer, const RequestRecord& record,
                             Duration took);

// One attempt, from its sending on. One thread at a time.
class AttemptSpan {
 public:
  // Null where the request is not traced. `reason`: "first", "retry", "hedge", "fallback",
  // "resume".
  static std::unique_ptr<AttemptSpan> begin(const telemetry::Tracer* tracer,
                                            const RequestRecord& record, std::string_view reason,
                                            const ReplicaInfo& replica);
  AttemptSpan(const telemetry::Tracer& tracer, const RequestRecord& record, std::string_view reason,
              const ReplicaInfo& replica);

  // What the replica is sent, so that its span is a child of this one.
  std::string traceparent() const { return telemetry::to_traceparent(span_.context); }
  void answered(int status);
  void first_token(Duration after_begin);
  // `error`: a fixed word; empty when nothing went wrong.
  void end(std::string_view error);

 private:
  const telemetry::Tracer& tracer_;
  const TimePoint began_;
  telemetry::Span span_;
};

}  // namespace sluice::gateway
