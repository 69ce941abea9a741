#include "serving/request_span.h"

#include <array>
#include <utility>
#include <variant>

namespace sluice::serving {

using telemetry::Span;

std::unique_ptr<RequestSpan> RequestSpan::begin(const telemetry::Tracer* tracer,
                                                const completion::Request& request,
                                                TimePoint arrived) {
  if (tracer == nullptr) return nullptr;
  const auto parent = request.trace.valid() ? std::optional(request.trace) : std::nullopt;
  Span span{
      .context = tracer->begin(parent), .name = {}, .attributes = {}, .events = {}, .message = {}};
  if (!span.context.sampled) return nullptr;
  if (parent) span.parent = parent->span;
  const bool chat = !request.prompts.empty() &&
                    std::holds_alternative<completion::ChatPrompt>(request.prompts.front());
  const std::string operation = chat ? "chat" : "text_completion";
  span.name = operation + " " + request.model;
  span.kind = telemetry::SpanKind::kServer;
  span.begin_unix_nanos = tracer->unix_nanos(arrived);
  span.set("gen_ai.operation.name", operation);
  span.set("gen_ai.provider.name", std::string("sluice"));
  span.set("gen_ai.request.model", request.model);
  span.set("gen_ai.response.model", request.model);
  if (!request.id.empty()) span.set("gen_ai.response.id", request.id);
  const completion::Sampling& sampling = request.sampling;
  const auto choices =
      static_cast<int64_t>(request.prompts.size()) * int64_t{request.choices_per_prompt};
  if (choices != 1) span.set("gen_ai.request.choice.count", choices);
  if (sampling.max_tokens) span.set("gen_ai.request.max_tokens", int64_t{*sampling.max_tokens});
  if (sampling.temperature) span.set("gen_ai.request.temperature", *sampling.temperature);
  if (sampling.top_p) span.set("gen_ai.request.top_p", *sampling.top_p);
  if (sampling.top_k) span.set("gen_ai.request.top_k", static_cast<double>(*sampling.top_k));
  if (sampling.seed) span.set("gen_ai.request.seed", static_cast<int64_t>(*sampling.seed));
  if (request.resume) {
    int64_t resumed = 0;
    for (const auto& choice : request.resume->choices) resumed += std::ssize(choice.tokens);
    span.set("sluice.resumed_tokens", resumed);
  }
  return std::make_unique<RequestSpan>(*tracer, std::move(span), arrived);
}

void RequestSpan::first_token(const engine::StepOutput& output) {
  if (first_token_ != TimePoint{}) return;
  first_token_ = output.at;
  span_.set("gen_ai.latency.time_in_queue", to_seconds(output.scheduled - output.queued));
  span_.set("gen_ai.latency.time_in_model_prefill", to_seconds(output.at - output.scheduled));
  span_.set("gen_ai.latency.time_to_first_token", to_seconds(output.at - arrived_));
  span_.events.push_back({.unix_nanos = tracer_.unix_nanos(output.scheduled), .name = "scheduled"});
  span_.events.push_back({.unix_nanos = tracer_.unix_nanos(output.at), .name = "first_token"});
}

void RequestSpan::choice_ended(completion::FinishReason reason) {
  constexpr std::array<const char*, 4> kNames = {"stop", "length", "abort", "error"};
  reasons_.emplace_back(kNames[static_cast<size_t>(reason)]);
}

void RequestSpan::end(TimePoint at, const completion::Usage& usage, const Status* failure) {
  span_.end_unix_nanos = tracer_.unix_nanos(at);
  span_.set("gen_ai.usage.input_tokens", int64_t{usage.prompt_tokens});
  span_.set("gen_ai.usage.output_tokens", int64_t{usage.completion_tokens});
  span_.set("gen_ai.usage.cache_read.input_tokens", int64_t{usage.cached_tokens});
  span_.set("gen_ai.response.finish_reasons", std::move(reasons_));
  if (first_token_ != TimePoint{}) {
    span_.set("gen_ai.latency.time_in_model_decode", to_seconds(at - first_token_));
  }
  span_.set("gen_ai.latency.e2e", to_seconds(at - arrived_));
  if (failure != nullptr) {
    const std::string why =
        failure->reason().empty() ? std::string(code_name(failure->code())) : failure->reason();
    span_.set("error.type", why);
    // Who leaves makes no failure.
    span_.failed = failure->code() != Code::kCancelled;
    if (span_.failed) span_.message = why;
  }
  tracer_.end(std::move(span_));
}

}  // namespace sluice::serving
