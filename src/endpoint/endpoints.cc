#include "endpoint/endpoints.h"

#include <array>
#include <utility>

#include "api/openai_response.h"
#include "base/build_info.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "endpoint/error_shape.h"
#include "endpoint/metered_responder.h"
#include "endpoint/sinks.h"

namespace sluice::endpoint {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using net::PathParams;

constexpr std::string_view kInternalPrefix = "/internal/";

HttpResponse text_response(std::string body, std::string type = "text/plain; charset=utf-8") {
  return {200, {{"Content-Type", std::move(type)}}, std::move(body)};
}

// The method as a label: one of those that routes have, or "other".
std::string method_label(std::string_view method) {
  constexpr std::array<std::string_view, 4> kKnown = {"GET", "POST", "HEAD", "OPTIONS"};
  for (const std::string_view known : kKnown) {
    if (method == known) return std::string(method);
  }
  return "other";
}

// "view=native" or "view=vllm"; both otherwise.
HttpResponse metrics_page(telemetry::Metrics& metrics, const HttpRequest& request) {
  const bool native = request.query != "view=vllm";
  const bool vllm = request.query != "view=native";
  return text_response(metrics.render(native, vllm), "text/plain; version=0.0.4; charset=utf-8");
}

}  // namespace

Endpoints::Endpoints(completion::Backend& backend, telemetry::Metrics& metrics, WorkerPool& workers,
                     EndpointOptions options, const Clock& clock)
    : backend_(backend),
      metrics_(metrics),
      workers_(workers),
      options_(std::move(options)),
      clock_(clock),
      auth_(public_keys(options_.api_keys, options_.admin_keys), options_.internal_token),
      admin_auth_(options_.admin_keys),
      kit_(backend, workers, auth_, options_.request_timeout, clock),
      heartbeats_(backend),
      internal_(backend, workers, options_.drain, options_.request_timeout, clock) {
  add_openai_routes("", Audience::kPublic);
  add_openai_routes("/openai", Audience::kPublic);
  if (!options_.internal_token.empty()) {
    add_openai_routes("/internal", Audience::kInternal);
    internal_.add_to(router_);
  }
  add_operation_routes();
  add_anthropic_routes(router_, kit_);
  add_kserve_routes(router_, kit_);
  add_oip_routes(router_, kit_);
}

Endpoints::~Endpoints() = default;

void Endpoints::leave() { internal_.leave(); }

HttpResponse Endpoints::error_page(int status, std::string_view message, std::string_view path) {
  return shaped_error_page(path, status, message);
}

void Endpoints::add(std::string method, std::string pattern, net::RouteHandler handler) {
  router_.add(std::move(method), std::move(pattern), std::move(handler));
}

void Endpoints::add_openai_routes(const std::string& prefix, Audience audience) {
  const auto generation = [this, audience](bool chat) {
    return [this, audience, chat](HttpRequest request, const PathParams&, ResponderPtr responder) {
      on_worker(responder, [this, audience, chat, request = std::move(request), responder] {
        generate(request, responder, chat, audience);
      });
    };
  };
  add("POST", prefix + "/v1/chat/completions", generation(true));
  add("POST", prefix + "/v1/completions", generation(false));
  add("GET", prefix + "/v1/models", [this](HttpRequest, const PathParams&, ResponderPtr responder) {
    on_worker(responder, [this, responder] {
      responder->send(json_response(api::models_body(backend_.models())));
    });
  });
  add("GET", prefix + "/v1/models/{id...}",
      [this](HttpRequest, const PathParams& params, ResponderPtr responder) {
        on_worker(responder, [this, responder, id = std::string(params.get("id"))] {
          const auto card = backend_.find_model(id);
          if (!card) return responder->send(error_response(card.error()));
          const bool ready = backend_.ready();
          responder->send(json_response(api::model_body(*card, ready), ready ? 200 : 503));
        });
      });
}

void Endpoints::add_operation_routes() {
  add("POST", "/tokenize", [this](HttpRequest request, const PathParams&, ResponderPtr responder) {
    on_worker(responder, [this, request = std::move(request), responder] {
      const auto respond = [&]() -> Result<std::string> {
        SLUICE_ASSIGN_OR_RETURN(const auto body, read_json_body(request));
        SLUICE_ASSIGN_OR_RETURN(const auto call, api::parse_tokenize_request(body));
        SLUICE_ASSIGN_OR_RETURN(const auto result, backend_.tokenize(call));
        return api::tokenize_body(result, call.with_pieces);
      };
      const auto body = respond();
      responder->send(body ? json_response(*body) : error_response(body.error()));
    });
  });
  add("POST", "/detokenize",
      [this](HttpRequest request, const PathParams&, ResponderPtr responder) {
        on_worker(responder, [this, request = std::move(request), responder] {
          const auto respond = [&]() -> Result<std::string> {
            SLUICE_ASSIGN_OR_RETURN(const auto body, read_json_body(request));
            SLUICE_ASSIGN_OR_RETURN(const auto call, api::parse_detokenize_request(body));
            SLUICE_ASSIGN_OR_RETURN(const auto text, backend_.detokenize(call.model, call.tokens));
            return api::detokenize_body(text);
          };
          const auto body = respond();
          responder->send(body ? json_response(*body) : error_response(body.error()));
        });
      });
  add("GET", "/health", [](HttpRequest, const PathParams&, ResponderPtr responder) {
    responder->send(text_response("ok\n"));
  });
  add("GET", "/ready", [this](HttpRequest, const PathParams&, ResponderPtr responder) {
    HttpResponse response = text_response("ready\n");
    if (!backend_.ready()) {
      response.status = 503;
      response.body = "not ready\n";
    }
    responder->send(std::move(response));
  });
  add("GET", "/version", [](HttpRequest, const PathParams&, ResponderPtr responder) {
    responder->send(
        json_response(to_json({{"version", kVersion}, {"build", build_description()}})));
  });
  add("GET", "/metrics", [this](HttpRequest request, const PathParams&, ResponderPtr responder) {
    on_worker(responder, [this, request = std::move(request), responder] {
      responder->send(metrics_page(metrics_, request));
    });
  });
}

bool Endpoints::needs_no_key(std::string_view path) const {
  return path == "/health" || path == "/ready" || (path == "/metrics" && options_.metrics_public);
}

void Endpoints::count_refusal(std::string_view path, std::string_view method, int status) {
  const net::RouteMatch match = router_.match(method, path);
  metrics_
      .counter(telemetry::View::kNative, "sluice_http_requests_total",
               "HTTP requests answered, by route, method and status.",
               {{"route", match.route != nullptr ? match.route->pattern : "other"},
                {"method", method_label(method)},
                {"status", std::to_string(status)}})
      .Increment();
}

std::optional<HttpResponse> Endpoints::refuse(const HttpRequest& head) {
  const auto refusal = [&]() -> std::optional<HttpResponse> {
    if (head.path.starts_with(kInternalPrefix)) {
      const Outcome allowed = auth_.check_internal(head);
      if (!allowed) return shaped_error(head.path, allowed.error());
    } else if (!needs_no_key(head.path)) {
      const auto tenant = auth_.check(head);
      if (!tenant) return shaped_error(head.path, tenant.error());
    }
    if (head.path.starts_with(kAdminPrefix)) {
      const Outcome allowed = admin_auth_.check(head);
      if (!allowed) return shaped_error(head.path, allowed.error());
    }
    const net::RouteMatch match = router_.match(head.method, head.path);
    if (match.route == nullptr) return net::Router::refusal(match, head, error_page);
    return std::nullopt;
  };
  auto response = refusal();
  if (response) count_refusal(head.path, head.method, response->status);
  return response;
}

void Endpoints::handle(HttpRequest request, ResponderPtr responder) {
  net::RouteMatch match = router_.match(request.method, request.path);
  if (match.route == nullptr) {
    responder->send(net::Router::refusal(match, request, error_page));
    return;
  }
  responder = metered(std::move(responder), metrics_, clock_, match.route->pattern,
                      method_label(request.method));
  match.route->handler(std::move(request), std::move(match.params), std::move(responder));
}

void Endpoints::on_worker(const ResponderPtr& responder, std::function<void()> task) {
  const Outcome queued = workers_.submit(std::move(task));
  if (!queued) responder->send(error_response(queued.error()));
}

void Endpoints::generate(const HttpRequest& request, const ResponderPtr& responder, bool chat,
                         Audience audience) {
  if (responder->closed()) return;
  const auto parse = [&]() -> Result<api::GenerateCall> {
    SLUICE_ASSIGN_OR_RETURN(const auto body, read_json_body(request));
    return chat ? api::parse_chat_request(body) : api::parse_completion_request(body);
  };
  auto call = parse();
  if (!call) {
    responder->send(error_response(call.error()));
    return;
  }
  if (audience == Audience::kPublic) {
    call->request.tenant = auth_.check(request).value_or(std::string());
  }
  call->request.id = new_id(chat ? "chatcmpl-" : "cmpl-");
  call->request.deadline = clock_.now() + options_.request_timeout;
  call->request.context = request.context;
  call->request.trace = trace_of(request);
  start_call(*std::move(call), responder, chat, audience);
}

void Endpoints::start_call(api::GenerateCall call, const ResponderPtr& responder, bool chat,
                           Audience audience) {
  const auto card = backend_.find_model(call.request.model);
  if (!card) {
    responder->send(error_response(card.error()));
    return;
  }
  const std::string model = call.request.model;
  const api::AnswerHead head{.kind = chat ? api::OpenAiKind::kChat : api::OpenAiKind::kCompletion,
                             .id = call.request.id,
                             .created = static_cast<int64_t>(clock_.unix_seconds()),
                             .model = card->id,
                             .fingerprint = card->fingerprint};
  completion::Request request = call.request;
  std::shared_ptr<completion::ResponseSink> sink;
  const bool stream = call.stream.stream;
  if (stream) {
    auto streaming = std::make_shared<StreamSink>(responder, head, call);
    if (audience == Audience::kInternal) {
      streaming->begin();
      heartbeats_.add(responder, model);
    }
    sink = std::move(streaming);
  } else {
    sink = std::make_shared<CollectSink>(responder, head, std::move(call));
  }
  auto started = backend_.generate(std::move(request), sink);
  if (!started) {
    sink->on_error(started.error());
    return;
  }
  responder->on_close([call = *std::move(started)] { call->cancel(); });
}

}  // namespace sluice::endpoint
