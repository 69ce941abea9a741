// The second half of Gateway: the way of one request that was let in.
#include <algorithm>
#include <utility>

#include "endpoint/error_shape.h"
#include "endpoint/model_path.h"
#include "gateway/charging.h"
#include "gateway/explain_run.h"
#include "gateway/forward.h"
#include "gateway/gateway.h"
#include "gateway/held_request.h"
#include "gateway/sticky_key.h"
#include "gateway/transform_run.h"
#include "gateway/url_call.h"

namespace sluice::gateway {

using net::HttpRequest;
using net::HttpResponse;

namespace {

bool has_json_body(const HttpRequest& request) {
  if (request.body.empty()) return false;
  const std::string_view type = request.header("content-type");
  const std::string_view name = type.substr(0, type.find(';'));
  // curl -d without a type of its own says it is a form.
  return type.empty() || net::equals_ignoring_case(name, "application/json") ||
         (net::equals_ignoring_case(name, "application/x-www-form-urlencoded") &&
          request.body.front() == '{');
}

}  // namespace

void Gateway::route(RelayRequest request) {
  if (has_json_body(request.http)) {
    auto fields = scan_body(request.http.body);
    if (!fields) return refused(request, fields.error());
    request.fields = *std::move(fields);
  }
  describe(request);
  const std::string model = request.record.model;
  if (request.route != nullptr) return enter(std::move(request));  // by its prefix
  if (const Graph* graph = request.snapshot->match_graph(request.http, request.fields.model)) {
    if (!Snapshot::allowed(request.caller, graph->settings(), model)) {
      return refuse_unknown(request);
    }
    return run_graph(*graph, std::move(request));
  }
  request.route = request.snapshot->match(request.http, request.fields.model);
  const bool known = request.route != nullptr &&
                     Snapshot::allowed(request.caller, request.route->settings(), model);
  if (!known) return refuse_unknown(request);
  enter(std::move(request));
}

// Whether it exists is not told to whoever may not use it.
void Gateway::refuse_unknown(RelayRequest& request) {
  if (request.caller.tenant == nullptr && !request.snapshot->plan().tenants.empty()) {
    return refused(request, {Code::kUnauthenticated,
                             "an API key is needed: send it as "
                             "\"Authorization: Bearer KEY\"",
                             {},
                             "missing_api_key"});
  }
  refused(request,
          request.record.model.empty()
              ? Status(Code::kNotFound, "no route takes this request")
              : Status(Code::kNotFound, "the model does not exist, or your key may not use it",
                       "model", "model_not_found"));
}

void Gateway::run_graph(const Graph& graph, RelayRequest request) {
  LoopParts* parts = parts_here();
  request.record.route = graph.settings().name;
  if (parts == nullptr || request.http.method != "POST" || request.http.body.empty()) {
    return refused(request, {Code::kInvalidArgument, "a graph is asked by POST, with a JSON body"});
  }
  GraphRun::begin(step_host_, parts->loop, *parts->client, graph, std::move(request));
}

// What this gateway explains itself is paid for by its requests to the route.
void Gateway::explain(RelayRequest request, LoopParts& parts) {
  if (request.route->settings().explain->url.empty()) {
    return ExplainRun::begin(step_host_, *parts.loop, std::move(request));
  }
  reserve(std::move(request), {}, parts.loop,
          [this, &parts](RelayRequest paid) { ask_explainer(std::move(paid), parts); });
}

void Gateway::ask_explainer(RelayRequest request, LoopParts& parts) {
  const plan::ExplainPlan& settings = *request.route->settings().explain;
  const auto held = std::make_shared<RelayRequest>(std::move(request));
  const auto call = UrlCall::begin(
      *parts.client, settings.url,
      {{"Content-Type", "application/json"},
       {"Accept", std::string(held->http.header("accept"))},
       {"X-Request-Id", held->record.id},
       {"traceparent", held->traceparent}},
      std::move(held->http.body), settings.timeout, [this, held](Result<HttpResponse> answer) {
        if (!answer) return refused(*held, answer.error().at("the explainer"));
        answer->headers = answer_headers(answer->headers, held->record.id);
        take_headers(answer->headers, std::move(held->limit_headers));
        held->record.status = answer->status;
        held->record.bytes_out = answer->body.size();
        held->responder->send(*std::move(answer));
        over(held->record);
      });
  held->responder->on_close([this, held, weak = std::weak_ptr(call), loop = parts.loop] {
    loop->post([this, held, weak] {
      const auto alive = weak.lock();
      if (!alive || !alive->cancel()) return;
      held->record.ending = Ending::kClientGone;
      over(held->record);
    });
  });
}

void Gateway::ask_itself(RelayRequest request) {
  request.record = new_record(request.http);
  request.record.tenant = request.caller.tenant_name();
  request.record.key = request.caller.key_name();
  auto fields = scan_body(request.http.body);
  if (!fields) return refused(request, fields.error());
  request.fields = *std::move(fields);
  describe(request);
  enter(std::move(request));
}

void Gateway::describe(RelayRequest& request) {
  // Where the path names the model, the body's word does not count.
  if (std::string named = endpoint::model_of_path(request.http.path); !named.empty()) {
    request.fields.model = std::move(named);
  }
  request.traceparent = begin_trace(request.http, relay_host_.tracer, request.record);
  request.record.model = request.fields.model.value_or("");
  request.record.model_label = request.snapshot->model_label(request.record.model);
}

Gateway::LoopParts* Gateway::parts_here() {
  const auto* here = net::EventLoop::current();
  const auto parts = std::ranges::find_if(
      loops_, [here](const LoopParts& each) { return each.loop.get() == here; });
  return parts == loops_.end() ? nullptr : &*parts;
}

void Gateway::enter(RelayRequest request) {
  request.record.route = request.route->settings().name;
  LoopParts* parts = parts_here();
  if (parts == nullptr) {
    return refused(request, {Code::kInternal, "the request came in on an unknown thread"});
  }
  if (request.route->settings().explain && request.http.path.ends_with(":explain")) {
    return explain(std::move(request), *parts);
  }
  if (const Transform* transform = request.route->transform();
      transform != nullptr && !request.transformed && !request.http.body.empty()) {
    return TransformRun::begin(
        step_host_, parts->loop, *parts->client, *transform, std::move(request),
        [this](RelayRequest made) { enter(std::move(made)); },
        [this](RelayRequest& made, const Status& status) { refused(made, status); });
  }
  if (request.route->holds() && HeldResponder::fits(request.http, request.fields)) {
    request.company = std::make_shared<HeldResponder>(std::move(request.responder),
                                                      request.http.path, request.record.id);
    request.responder = request.company;
  }
  if (!request.batched) log_payload(request);
  if (PredictBatcher::takes(request)) return parts->batcher->take(std::move(request));
  if (answer_again(request, parts->loop)) return;
  charge(std::move(request), *parts);
}

// Over Sluice replicas it is charged where its prompt is counted.
void Gateway::charge(RelayRequest request, LoopParts& parts) {
  const bool by_replicas = request.route->sluice() && sluice_handler_;
  if (by_replicas || !quota_ || request.caller.tenant == nullptr) {
    return send(std::move(request), parts);
  }
  const auto most = most_cost(request);
  if (!most) return refused(request, most.error());
  reserve(std::move(request), *most, parts.loop,
          [this, &parts](RelayRequest paid) { send(std::move(paid), parts); });
}

void Gateway::log_payload(RelayRequest& request) {
  const auto& plan = request.route->settings().log;
  if (!plan) return;
  request.responder = payload_log_->watch(*plan, request.record.route, request.http,
                                          request.record.id, std::move(request.responder));
}

void Gateway::send(RelayRequest request, LoopParts& parts) {
  Route& route = *request.route;
  if (!route.holds()) return pass_on(std::move(request), parts);
  const std::string key =
      sticky_key(route.settings().sticky, request.http.headers, request.fields, request.caller);
  request.branch = route.split(
      key, [&](std::string_view name) { return header_of(request.http.headers, name); });
  if (request.branch == nullptr || !request.branch->holds()) {
    return pass_on(std::move(request), parts);
  }
  HeldRequest::begin(
      relay_host_, *parts.loop, std::move(request),
      {.next = [this, &parts](RelayRequest held) { pass_on(std::move(held), parts); },
       .again = [this, &parts](RelayRequest held) { send_again(std::move(held), parts); },
       .refuse = [this](RelayRequest& held, const Status& status) { refused(held, status); }});
}

// Its upstream has left the plan while it waited. Nothing has been sent yet, so that the route of
// the same name answers it as that is now.
void Gateway::send_again(RelayRequest request, LoopParts& parts) {
  const std::string name = request.route->settings().name;
  auto now = snapshot();
  Route* route = now->find_route(name);
  if (route == nullptr) {
    return refused(request,
                   {Code::kUnavailable, "the model is not served any more", {}, "upstream_gone"});
  }
  if (!request.known_by) request.known_by = std::move(request.snapshot);
  request.snapshot = std::move(now);
  const bool same_kind = route->sluice() == request.route->sluice();
  request.route = route;
  if (same_kind) return send(std::move(request), parts);
  if (const auto grant = std::exchange(request.grant, nullptr)) grant->settle({}, name);
  request.limit_headers.clear();
  charge(std::move(request), parts);
}

void Gateway::pass_on(RelayRequest request, LoopParts& parts) {
  if (request.route->sluice() && sluice_handler_) return sluice_handler_(std::move(request));
  Relay::begin(relay_host_, *parts.loop, *parts.client, std::move(request));
}

bool Gateway::answer_again(RelayRequest& request, const std::shared_ptr<net::EventLoop>& loop) {
  const plan::Route& settings = request.route->settings();
  if (settings.cache_for == Duration::zero()) return false;
  const CacheWishes wishes = cache_wishes(request.http);
  std::optional<std::string> key;
  if (wishes.store) {
    key = cache_key(request.http, request.caller, *request.route, request.record.model);
  }
  const auto note = [&](std::string_view result) {
    request.record.cache = result;
    gateway_metrics_.cache(settings.name, result);
  };
  if (!key) {
    note("bypass");
    return false;
  }
  const auto answer = wishes.read ? cache_->find(*key, settings.cache_for) : nullptr;
  if (!answer) {
    note("miss");
    request.responder = record_answer(std::move(request.responder), cache_, *key);
    return false;
  }
  note("hit");
  auto replay = [this, answer](RelayRequest hit) {
    net::Headers headers = {{"X-Request-Id", hit.record.id}};
    take_headers(headers, std::move(hit.limit_headers));
    hit.record.status = 200;
    hit.record.stream = answer->streamed;
    hit.record.bytes_out = answer->body.size();
    replay_answer(*answer, clock_.now(), std::move(headers), *hit.responder);
    over(hit.record);
  };
  // A request like any other, but of no tokens.
  reserve(std::move(request), {}, loop, std::move(replay));
  return true;
}

void Gateway::reserve(RelayRequest request, const TokenUse& most,
                      const std::shared_ptr<net::EventLoop>& loop,
                      std::function<void(RelayRequest)> then) {
  if (!quota_ || request.caller.tenant == nullptr) return then(std::move(request));
  auto held = std::make_shared<RelayRequest>(std::move(request));
  const Quota::Ask ask{.caller = held->caller,
                       .route = &held->route->settings(),
                       .model = held->record.model_label,
                       .most = most};
  quota_->reserve(ask, loop, [this, held, then = std::move(then)](Quota::Answer grant) {
    if (!grant) return refused(*held, grant.error().status, std::move(grant.error().headers));
    held->grant = *std::move(grant);
    held->limit_headers = held->grant->take_headers();
    then(std::move(*held));
  });
}

void Gateway::refused(RelayRequest& request, const Status& status, net::Headers headers) {
  HttpResponse response = endpoint::shaped_error(request.http.path, status);
  take_headers(response.headers, std::move(headers));
  response.headers.emplace_back("X-Request-Id", request.record.id);
  request.record.status = response.status;
  request.record.ending = Ending::kRefused;
  request.record.error = status.reason().empty() ? "invalid_request" : status.reason();
  request.record.bytes_out = response.body.size();
  request.visit.end(load_outcome(request.record), std::nullopt, clock_.now());
  if (request.grant) request.grant->settle({}, request.record.upstream);
  request.responder->send(std::move(response));
  over(request.record);
}

}  // namespace sluice::gateway
