// RequestSpan: the span of one request at a model, with what its time went into.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "completion/request.h"
#include "engine/request.h"
#include "telemetry/tracer.h"

namespace sluice::serving {

// One thread at a time. Attributes are OpenTelemetry's gen_ai ones, and vLLM's gen_ai.latency.
class RequestSpan {
 public:
  // Null where the request is not traced.
  static std::unique_ptr<RequestSpan> begin(const telemetry::Tracer* tracer,
                                            const completion::Request& request, TimePoint arrived);
  RequestSpan(const telemetry::Tracer& tracer, telemetry::Span span, TimePoint arrived)
      : tracer_(tracer), span_(std::move(span)), arrived_(arrived) {}

  // Of the first choice that has one.
  void first_token(const engine::StepOutput& output);
  void choice_ended(completion::FinishReason reason);
  // `failure`: null when the answer is whole.
  void end(TimePoint at, const completion::Usage& usage, const Status* failure);

 private:
  const telemetry::Tracer& tracer_;
  telemetry::Span span_;
  const TimePoint arrived_;
  TimePoint first_token_{};
  std::vector<std::string> reasons_;
};

}  // namespace sluice::serving
