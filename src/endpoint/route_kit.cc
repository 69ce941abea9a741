#include "endpoint/route_kit.h"

#include <iterator>
#include <string>
#include <utility>

#include "api/fields.h"
#include "endpoint/error_shape.h"

namespace sluice::endpoint {

RouteKit::RouteKit(completion::Backend& backend, WorkerPool& workers, const Auth& auth,
                   std::chrono::seconds request_timeout, const Clock& clock)
    : backend_(backend),
      workers_(workers),
      auth_(auth),
      request_timeout_(request_timeout),
      clock_(clock) {}

net::RouteHandler RouteKit::on_worker(Work work) const {
  auto shared = std::make_shared<const Work>(std::move(work));
  return [this, shared](net::HttpRequest request, net::PathParams params, ResponderPtr responder) {
    std::string path = request.path;
    const Outcome queued = workers_.submit(
        [shared, request = std::move(request), params = std::move(params), responder] {
          if (!responder->closed()) (*shared)(request, params, responder);
        });
    if (!queued) responder->send(shaped_error(path, queued.error()));
  };
}

telemetry::SpanContext trace_of(const net::HttpRequest& request) {
  return telemetry::parse_traceparent(request.header("traceparent"))
      .value_or(telemetry::SpanContext{});
}

void RouteKit::generate(completion::Request request, const net::HttpRequest& http,
                        const ResponderPtr& responder,
                        const std::shared_ptr<completion::ResponseSink>& sink) const {
  request.tenant = auth_.check(http).value_or(std::string());
  request.context = http.context;
  request.trace = trace_of(http);
  request.deadline = clock_.now() + request_timeout_;
  auto started = backend_.generate(std::move(request), sink);
  if (!started) {
    sink->on_error(started.error());
    return;
  }
  responder->on_close([call = *std::move(started)] { call->cancel(); });
}

Outcome check_json_type(const net::HttpRequest& request) {
  std::string_view type = request.header("content-type");
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  if (type.empty() || net::equals_ignoring_case(type, "application/json")) return {};
  return invalid("the Content-Type must be application/json", "content-type");
}

Result<json::object> read_json_body(const net::HttpRequest& request) {
  SLUICE_RETURN_IF_ERROR(check_json_type(request));
  return api::parse_body(request.body);
}

void start_events(net::Responder& responder, net::Headers more) {
  net::Headers headers = {{"Content-Type", "text/event-stream; charset=utf-8"},
                          {"Cache-Control", "no-cache"},
                          {"X-Accel-Buffering", "no"}};
  std::ranges::move(more, std::back_inserter(headers));
  responder.start(200, std::move(headers));
}

}  // namespace sluice::endpoint
