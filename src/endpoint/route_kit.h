// RouteKit: what the routes of every protocol do alike: go to a worker, read a JSON body, begin a
// generation. Each protocol's routes stand in a file of their own and are added by one function.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/status.h"
#include "base/worker_pool.h"
#include "completion/backend.h"
#include "endpoint/auth.h"
#include "net/router.h"
#include "net/server.h"

namespace sluice::endpoint {

using ResponderPtr = std::shared_ptr<net::Responder>;

// Callable from any thread; what it refers to outlives it and the routes made with it.
class RouteKit {
 public:
  using Work =
      std::function<void(const net::HttpRequest&, const net::PathParams&, const ResponderPtr&)>;

  RouteKit(completion::Backend& backend, WorkerPool& workers, const Auth& auth,
           std::chrono::seconds request_timeout, const Clock& clock);

  completion::Backend& backend() const { return backend_; }

  // A handler whose work runs on a worker; 429 in the path's shape when too much waits already.
  net::RouteHandler on_worker(Work work) const;

  // Sets tenant and deadline and begins; the sink hears the end whatever happens, and a client that
  // leaves cancels.
  void generate(completion::Request request, const net::HttpRequest& http,
                const ResponderPtr& responder,
                const std::shared_ptr<completion::ResponseSink>& sink) const;

 private:
  completion::Backend& backend_;
  WorkerPool& workers_;
  const Auth& auth_;
  const std::chrono::seconds request_timeout_;
  const Clock& clock_;
};

// Paths that need an admin key.
inline constexpr std::string_view kAdminPrefix = "/v2/repository/models/";

// The Content-Type must be application/json, or absent.
Outcome check_json_type(const net::HttpRequest& request);

// Who traces the request, by its header traceparent; not valid: nobody.
telemetry::SpanContext trace_of(const net::HttpRequest& request);

// The body as a JSON object, its type checked.
Result<json::object> read_json_body(const net::HttpRequest& request);

// Status 200 and the headers of a stream of events.
void start_events(net::Responder& responder, net::Headers more = {});

// POST /v1/messages and /v1/messages/count_tokens.
void add_anthropic_routes(net::Router& router, const RouteKit& kit);
// KServe's v1 prediction: POST /v1/models/{model}:predict.
void add_kserve_routes(net::Router& router, const RouteKit& kit);
// The Open Inference Protocol v2 over REST: /v2….
void add_oip_routes(net::Router& router, const RouteKit& kit);

}  // namespace sluice::endpoint
