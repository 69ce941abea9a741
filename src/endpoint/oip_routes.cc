#include <string>
#include <utility>

#include "api/oip_request.h"
#include "api/oip_response.h"
#include "base/build_info.h"
#include "base/ids.h"
#include "completion/collector.h"
#include "endpoint/error_shape.h"
#include "endpoint/route_kit.h"
#include "endpoint/sinks.h"
#include "net/sse.h"

namespace sluice::endpoint {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using net::PathParams;

// The model that a path names, at the version that it names, if any.
Result<completion::ModelCard> find_model(const RouteKit& kit, const PathParams& params) {
  SLUICE_ASSIGN_OR_RETURN(auto card, kit.backend().find_model(params.get("model")));
  SLUICE_RETURN_IF_ERROR(api::check_model_version(params.get("version")));
  return card;
}

HttpResponse ready_response(std::string body, bool ready) {
  return json_response(std::move(body), ready ? 200 : 503);
}

void infer(const RouteKit& kit, const HttpRequest& http, const PathParams& params,
           const ResponderPtr& responder) {
  const std::string path = http.path;
  const auto parse = [&]() -> Result<api::InferCall> {
    const std::string_view length = http.header("inference-header-content-length");
    SLUICE_ASSIGN_OR_RETURN(const size_t json_bytes,
                            api::parse_json_length(length, http.body.size()));
    if (length.empty()) SLUICE_RETURN_IF_ERROR(check_json_type(http));
    SLUICE_ASSIGN_OR_RETURN(auto input, api::parse_infer_body(http.body, json_bytes));
    return api::make_infer_call(std::move(input));
  };
  const auto card = find_model(kit, params);
  if (!card) return responder->send(shaped_error(path, card.error()));
  auto call = parse();
  if (!call) return responder->send(shaped_error(path, call.error()));

  completion::Request request = std::move(call->request);
  request.id = new_id("infer-");
  request.model = params.get("model");
  const auto sink = std::make_shared<completion::Collector>(
      request, [responder, path, model = card->id,
                call = *std::move(call)](const Result<completion::Answer>& answer) {
        if (!answer) return responder->send(shaped_error(path, answer.error()));
        api::InferBody body = api::infer_body(model, call, *answer);
        if (body.json_bytes == body.bytes.size()) {
          return responder->send(json_response(std::move(body.bytes)));
        }
        responder->send({200,
                         {{"Content-Type", "application/octet-stream"},
                          {"Inference-Header-Content-Length", std::to_string(body.json_bytes)}},
                         std::move(body.bytes)});
      });
  kit.generate(std::move(request), http, responder, sink);
}

// Streams generate's events. The stream begins with the first delta, so that an early failure still
// has its own status.
class GenerateStreamSink : public completion::ResponseSink {
 public:
  GenerateStreamSink(ResponderPtr responder, std::string path, std::string model, bool details)
      : responder_(std::move(responder)),
        path_(std::move(path)),
        model_(std::move(model)),
        details_(details) {}

  void on_start(completion::PromptInfo) override {}
  void on_prompt_logprobs(int, std::vector<completion::LogprobEntry>) override {}
  void on_delta(completion::Delta delta) override {
    begin();
    responder_->write(net::sse_event(api::generate_event(model_, details_, delta)));
  }
  void on_done(const completion::Usage&) override {
    begin();
    responder_->finish();
  }
  void on_error(const Status& status) override {
    if (!started_) return responder_->send(shaped_error(path_, status));
    responder_->write(net::sse_event(api::oip_error_body(status.message())));
    responder_->finish();
  }

 private:
  void begin() {
    if (!std::exchange(started_, true)) start_events(*responder_);
  }

  const ResponderPtr responder_;
  const std::string path_;
  const std::string model_;
  const bool details_;
  bool started_ = false;
};

void generate(const RouteKit& kit, const HttpRequest& http, const PathParams& params,
              const ResponderPtr& responder, bool stream) {
  const std::string path = http.path;
  const auto parse = [&]() -> Result<api::SampledRequest> {
    SLUICE_ASSIGN_OR_RETURN(const auto body, read_json_body(http));
    return api::parse_generate_request(body);
  };
  const auto card = find_model(kit, params);
  if (!card) return responder->send(shaped_error(path, card.error()));
  auto call = parse();
  if (!call) return responder->send(shaped_error(path, call.error()));

  completion::Request request = std::move(call->request);
  request.id = new_id("generate-");
  request.model = params.get("model");
  std::shared_ptr<completion::ResponseSink> sink;
  if (stream) {
    sink = std::make_shared<GenerateStreamSink>(responder, path, card->id, call->details);
  } else {
    sink = std::make_shared<completion::Collector>(
        request, [responder, path, model = card->id,
                  details = call->details](const Result<completion::Answer>& answer) {
          responder->send(answer ? json_response(api::generate_body(model, details, *answer))
                                 : shaped_error(path, answer.error()));
        });
  }
  kit.generate(std::move(request), http, responder, sink);
}

// Where models stay as they were at the start, loading what is loaded is no work, and nothing else
// can be done.
void change_repository(const RouteKit& kit, const HttpRequest& http, const PathParams& params,
                       const ResponderPtr& responder, bool load) {
  if (kit.backend().changes_models()) {
    const auto done = [responder, path = http.path, name = params.get("model"),
                       load](const Outcome& outcome) {
      responder->send(outcome ? json_response(api::model_changed_body(name, load))
                              : shaped_error(path, outcome.error()));
    };
    return kit.backend().change_model(params.get("model"), load, done);
  }
  const auto outcome = api::change_model(kit.backend(), params.get("model"), load);
  responder->send(outcome ? json_response(*outcome) : shaped_error(http.path, outcome.error()));
}

void add_health_routes(net::Router& router, const RouteKit& kit) {
  router.add("GET", "/v2",
             [](const HttpRequest&, const PathParams&, const ResponderPtr& responder) {
               responder->send(json_response(api::server_metadata_body(kVersion)));
             });
  router.add("GET", "/v2/health/live",
             [](const HttpRequest&, const PathParams&, const ResponderPtr& responder) {
               responder->send(json_response(R"({"live":true})"));
             });
  router.add("GET", "/v2/health/ready",
             [&kit](const HttpRequest&, const PathParams&, const ResponderPtr& responder) {
               const bool ready = kit.backend().ready();
               const std::string_view body =
                   ready ? R"({"ready":true,"live":true})" : R"({"ready":false,"live":true})";
               responder->send(ready_response(std::string(body), ready));
             });
}

// `model` is "/v2/models/{model}" or that with a version.
void add_model_routes(net::Router& router, const RouteKit& kit, const std::string& model) {
  router.add("GET", model,
             kit.on_worker([&kit](const auto& http, const auto& params, const auto& responder) {
               const auto card = find_model(kit, params);
               responder->send(card ? json_response(api::model_metadata_body(card->id))
                                    : shaped_error(http.path, card.error()));
             }));
  router.add("GET", model + "/ready",
             kit.on_worker([&kit](const auto& http, const auto& params, const auto& responder) {
               const auto card = find_model(kit, params);
               if (!card) return responder->send(shaped_error(http.path, card.error()));
               const bool ready = kit.backend().ready();
               responder->send(ready_response(api::model_ready_body(card->id, ready), ready));
             }));
  router.add("POST", model + "/infer",
             kit.on_worker([&kit](const auto& http, const auto& params, const auto& responder) {
               infer(kit, http, params, responder);
             }));
  for (const bool stream : {false, true}) {
    router.add(
        "POST", model + (stream ? "/generate_stream" : "/generate"),
        kit.on_worker([&kit, stream](const auto& http, const auto& params, const auto& responder) {
          generate(kit, http, params, responder, stream);
        }));
  }
}

void add_repository_routes(net::Router& router, const RouteKit& kit) {
  router.add("GET", "/v2/models",
             kit.on_worker([&kit](const auto&, const auto&, const auto& responder) {
               responder->send(json_response(api::model_list_body(kit.backend().models())));
             }));
  router.add("POST", "/v2/repository/index",
             kit.on_worker([&kit](const auto&, const auto&, const auto& responder) {
               responder->send(json_response(
                   api::repository_index_body(kit.backend().models(), kit.backend().ready())));
             }));
  for (const bool load : {false, true}) {
    router.add(
        "POST", std::string(kAdminPrefix) + (load ? "{model}/load" : "{model}/unload"),
        kit.on_worker([&kit, load](const auto& http, const auto& params, const auto& responder) {
          change_repository(kit, http, params, responder, load);
        }));
  }
}

}  // namespace

void add_oip_routes(net::Router& router, const RouteKit& kit) {
  add_health_routes(router, kit);
  add_model_routes(router, kit, "/v2/models/{model}");
  add_model_routes(router, kit, "/v2/models/{model}/versions/{version}");
  add_repository_routes(router, kit);
}

}  // namespace sluice::endpoint
