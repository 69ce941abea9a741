#include "gateway/request_spans.h"

#include <fmt/format.h>

#include <utility>

#include "gateway/forward.h"
#include "net/url.h"

namespace sluice::gateway {
namespace {

using telemetry::Span;
using telemetry::SpanKind;

// OpenTelemetry's name of what is asked for, by the path; empty: none of those it names.
std::string_view operation_of(std::string_view path) {
  const auto is = [path](std::string_view end) { return path.ends_with(end); };
  if (is("/chat/completions") || is("/messages")) return "chat";
  if (is("/completions")) return "text_completion";
  if (is("/embeddings")) return "embeddings";
  if (is("/responses") || is("/generate") || is("/generate_stream") || is("/infer") ||
      is(":predict") || is("/ModelInfer")) {
    return "generate_content";
  }
  return {};
}

void set_operation(Span& span, const RequestRecord& record) {
  if (const auto operation = operation_of(record.path); !operation.empty()) {
    span.set("gen_ai.operation.name", std::string(operation));
  }
  if (!record.model.empty()) span.set("gen_ai.request.model", record.model);
}

void set_if(Span& span, std::string_view name, const std::string& value) {
  if (!value.empty()) span.set(std::string(name), value);
}

}  // namespace

std::string begin_trace(const net::HttpRequest& request, const telemetry::Tracer* tracer,
                        RequestRecord& record) {
  if (tracer == nullptr) {
    std::string passed_on = traceparent_of(request);
    record.trace_id = trace_id_of(passed_on);
    return passed_on;
  }
  const auto caller = telemetry::parse_traceparent(request.header("traceparent"));
  record.span = tracer->begin(caller);
  if (caller) record.parent = caller->span;
  record.trace_id = telemetry::to_hex(record.span.trace);
  return telemetry::to_traceparent(record.span);
}

Span request_span(const telemetry::Tracer& tracer, const RequestRecord& record, Duration took) {
  Span span{.context = record.span,
            .parent = record.parent,
            // Paths that no route takes may be anything.
            .name = record.route.empty() ? record.method : record.method + " " + record.path,
            .kind = SpanKind::kServer,
            .begin_unix_nanos = tracer.unix_nanos(record.began),
            .end_unix_nanos = tracer.unix_nanos(record.began + took),
            .attributes = {},
            .events = {},
            .message = {}};
  span.set("http.request.method", record.method);
  span.set("url.path", record.path);
  if (record.status != 0) span.set("http.response.status_code", int64_t{record.status});
  set_operation(span, record);
  set_if(span, "sluice.request.id", record.id);
  set_if(span, "sluice.route", record.route);
  set_if(span, "sluice.tenant", record.tenant);
  set_if(span, "sluice.upstream", record.upstream);
  span.set("sluice.ending", std::string(ending_name(record.ending)));
  span.set("sluice.attempts", int64_t{record.attempts});
  span.set("gen_ai.request.stream", record.stream);
  if (record.usage) {
    span.set("gen_ai.usage.input_tokens", record.usage->prompt);
    span.set("gen_ai.usage.output_tokens", record.usage->completion);
  }
  if (record.waited > Duration::zero()) {
    span.set("gen_ai.latency.time_in_queue", to_seconds(record.waited));
  }
  if (record.first_byte > Duration::zero()) {
    span.set("sluice.time_to_first_byte", to_seconds(record.first_byte));
  }
  if (!record.cache.empty()) span.set("sluice.cache", std::string(record.cache));
  set_if(span, "error.type", record.error);
  // A client's own mistakes, and its leaving, are no failures of this server.
  span.failed = record.status >= 500 || record.ending == Ending::kCut;
  if (span.failed) span.message = record.error;
  return span;
}

std::unique_ptr<AttemptSpan> AttemptSpan::begin(const telemetry::Tracer* tracer,
                                                const RequestRecord& record,
                                                std::string_view reason,
                                                const ReplicaInfo& replica) {
  if (tracer == nullptr) return nullptr;
  return std::make_unique<AttemptSpan>(*tracer, record, reason, replica);
}

AttemptSpan::AttemptSpan(const telemetry::Tracer& tracer, const RequestRecord& record,
                         std::string_view reason, const ReplicaInfo& replica)
    : tracer_(tracer), began_(tracer.now()) {
  // Sampled where the request is: the rule was asked at the door.
  span_.context = {
      .trace = record.span.trace, .span = telemetry::new_span_id(), .sampled = record.span.sampled};
  if (!span_.context.sampled) return;
  const std::string_view operation = operation_of(record.path);
  span_.parent = record.span.span;
  span_.name = fmt::format("{} {}", operation.empty() ? record.method : operation, record.model);
  span_.kind = SpanKind::kClient;
  span_.begin_unix_nanos = tracer.unix_nanos(began_);
  set_operation(span_, record);
  span_.set("gen_ai.provider.name",
            std::string(replica.kind == ReplicaKind::kSluice ? "sluice" : "openai_compatible"));
  if (const auto url = net::parse_url(replica.url)) {
    span_.set("server.address", url->host);
    span_.set("server.port", int64_t{url->port});
  }
  span_.set("sluice.upstream", replica.upstream);
  span_.set("sluice.replica", replica.name);
  span_.set("sluice.attempt.reason", std::string(reason));
}

void AttemptSpan::answered(int status) {
  if (span_.context.sampled) span_.set("http.response.status_code", int64_t{status});
}

void AttemptSpan::first_token(Duration after_begin) {
  if (!span_.context.sampled) return;
  span_.events.push_back(
      {.unix_nanos = tracer_.unix_nanos(began_ + after_begin), .name = "first_token"});
}

void AttemptSpan::end(std::string_view error) {
  span_.end_unix_nanos = tracer_.unix_nanos(tracer_.now());
  span_.failed = !error.empty();
  if (span_.failed) {
    span_.set("error.type", std::string(error));
    span_.message = error;
  }
  tracer_.end(std::move(span_));
}

}  // namespace sluice::gateway
