#include <utility>

#include "api/kserve_request.h"
#include "base/ids.h"
#include "completion/collector.h"
#include "endpoint/error_shape.h"
#include "endpoint/route_kit.h"
#include "endpoint/sinks.h"

namespace sluice::endpoint {
namespace {

void predict(const RouteKit& kit, std::string model, const net::HttpRequest& http,
             const ResponderPtr& responder) {
  const std::string path = http.path;
  const auto parse = [&]() -> Result<completion::Request> {
    SLUICE_RETURN_IF_ERROR(kit.backend().find_model(model));
    SLUICE_ASSIGN_OR_RETURN(const auto body, read_json_body(http));
    return api::parse_predict_request(body);
  };
  auto request = parse();
  if (!request) return responder->send(shaped_error(path, request.error()));
  request->id = new_id("predict-");
  request->model = std::move(model);
  const auto sink = std::make_shared<completion::Collector>(
      *request, [responder, path](const Result<completion::Answer>& answer) {
        responder->send(answer ? json_response(api::predictions_body(*answer))
                               : shaped_error(path, answer.error()));
      });
  kit.generate(*std::move(request), http, responder, sink);
}

// A model's name may hold slashes and colons, so the verb is what stands behind the last colon.
void act_on_model(const RouteKit& kit, const std::string& target, const net::HttpRequest& http,
                  const ResponderPtr& responder) {
  const size_t colon = target.rfind(':');
  const std::string_view verb =
      colon == std::string::npos ? std::string_view() : std::string_view(target).substr(colon + 1);
  if (verb == "predict") return predict(kit, target.substr(0, colon), http, responder);
  if (verb == "explain") {
    return responder->send(shaped_error(
        http.path, Status(Code::kUnimplemented, "explanations are not offered by this server")));
  }
  responder->send(shaped_error(
      http.path, Status(Code::kNotFound, "a model takes POST only as /v1/models/NAME:predict")));
}

}  // namespace

void add_kserve_routes(net::Router& router, const RouteKit& kit) {
  router.add("POST", "/v1/models/{target...}",
             kit.on_worker([&kit](const auto& http, const auto& params, const auto& responder) {
               act_on_model(kit, params.get("target"), http, responder);
             }));
}

}  // namespace sluice::endpoint
