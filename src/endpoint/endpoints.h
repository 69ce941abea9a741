// Endpoints: the routes of every protocol over a completion::Backend.
//
//   POST /v1/chat/completions  /v1/completions        GET /v1/models  /v1/models/{id...}
//   POST /tokenize  /detokenize                       GET /health /ready /version /metrics
//   POST /v1/messages  /v1/messages/count_tokens      (Anthropic)
//   POST /v1/models/{model}:predict                   (KServe v1)    /v2…  (OIP v2)
// The OpenAI routes stand under /openai too, as KServe has them, and the two completion routes
// under /internal (own token) with heartbeats; the routes by which a gateway drives a runtime are
// internal_routes'.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/openai_request.h"
#include "base/clock.h"
#include "base/worker_pool.h"
#include "completion/backend.h"
#include "endpoint/admin_auth.h"
#include "endpoint/auth.h"
#include "endpoint/heartbeats.h"
#include "endpoint/internal_routes.h"
#include "endpoint/route_kit.h"
#include "net/router.h"
#include "net/server.h"
#include "telemetry/metrics.h"

namespace sluice::endpoint {

struct EndpointOptions {
  std::vector<std::string> api_keys = {};    // none: every route is open
  std::vector<std::string> admin_keys = {};  // may change the model repository, and all else
  bool metrics_public = false;               // /metrics answers without a key
  std::string internal_token = {};           // none: the internal routes do not exist
  std::chrono::seconds request_timeout{600};
  std::function<void()> drain = {};  // the backend refuses new requests from then on
};

// Callable from any thread; called by the HTTP server. What it refers to outlives it.
class Endpoints : public net::HttpHandler {
 public:
  Endpoints(completion::Backend& backend, telemetry::Metrics& metrics, WorkerPool& workers,
            EndpointOptions options, const Clock& clock = system_clock());
  ~Endpoints() override;

  std::optional<net::HttpResponse> refuse(const net::HttpRequest& head) override;
  void handle(net::HttpRequest request, std::shared_ptr<net::Responder> responder) override;

  // The server is going to end: gateways are told to go on elsewhere with what they read from it.
  void leave();

  // Errors of the server's own, in the shape that the path's users expect.
  static net::HttpResponse error_page(int status, std::string_view message, std::string_view path);

 private:
  enum class Audience { kPublic, kInternal };

  void add_openai_routes(const std::string& prefix, Audience audience);
  void add_operation_routes();
  void add(std::string method, std::string pattern, net::RouteHandler handler);

  void generate(const net::HttpRequest& request, const std::shared_ptr<net::Responder>& responder,
                bool chat, Audience audience);
  void start_call(api::GenerateCall call, const std::shared_ptr<net::Responder>& responder,
                  bool chat, Audience audience);
  // Runs on a worker; answers 429 when too much waits already.
  void on_worker(const std::shared_ptr<net::Responder>& responder, std::function<void()> task);
  bool needs_no_key(std::string_view path) const;
  void count_refusal(std::string_view path, std::string_view method, int status);

  completion::Backend& backend_;
  telemetry::Metrics& metrics_;
  WorkerPool& workers_;
  const EndpointOptions options_;
  const Clock& clock_;
  const Auth auth_;
  const AdminAuth admin_auth_;
  const RouteKit kit_;
  net::Router router_;
  Heartbeats heartbeats_;
  InternalRoutes internal_;
};

}  // namespace sluice::endpoint
