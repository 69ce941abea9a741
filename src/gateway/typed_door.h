// TypedDoor: the gateway's door for requests that come typed, by another protocol than HTTP (gRPC):
// who asks, which route, a place in its queue; then the way of all requests to Sluice replicas.
//
// To a route's match such a request looks as the same one over REST: POST /v2/models/NAME/infer,
// with its metadata as header fields. Routes over servers of another make have nobody who
// understands it.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/worker_pool.h"
#include "completion/backend.h"
#include "gateway/gateway.h"
#include "gateway/unbroken_front.h"
#include "net/event_loop.h"
#include "net/http.h"

namespace sluice::gateway {

// Who asks: a typed request's context.
struct TypedCaller {
  std::shared_ptr<const Snapshot> snapshot;  // keeps the caller
  Caller caller;
  net::Headers headers;
  std::string peer;
};

// Any thread. A Backend whose requests' context is a TypedCaller; whoever waits for a place waits
// on the loop. Destroyed when no request can come any more and the workers have ended.
class TypedDoor final : public completion::Backend {
 public:
  TypedDoor(Gateway& gateway, UnbrokenFront& front, net::EventLoop& loop, WorkerPool& workers,
            const Clock& clock = system_clock());

  // By the credential among the headers.
  Result<std::shared_ptr<const TypedCaller>> identify(net::Headers headers,
                                                      std::string_view peer) const;
  // Fails for whoever has no admin's key.
  Outcome check_admin(const net::Headers& headers) const;
  // Whether some route takes the model from this caller.
  Outcome may_use(const TypedCaller& caller, const std::string& model) const;

  std::vector<completion::ModelCard> models() const override { return front_.backend().models(); }
  Result<completion::ModelCard> find_model(const std::string& name) const override {
    return front_.backend().find_model(name);
  }
  // What does not let it in is told to the sink, later.
  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink) override;
  Result<completion::TokenizeResult> tokenize(
      const completion::TokenizeRequest& request) const override {
    return front_.backend().tokenize(request);
  }
  Result<std::string> detokenize(const std::string& model,
                                 const std::vector<int32_t>& tokens) const override {
    return front_.backend().detokenize(model, tokens);
  }
  bool ready() const override { return gateway_.ready(); }
  uint64_t steps(const std::string&) const override { return 0; }

 private:
  class Pending;

  Result<Route*> find_route(const TypedCaller& caller, const std::string& model) const;

  Gateway& gateway_;
  UnbrokenFront& front_;
  net::EventLoop& loop_;
  WorkerPool& workers_;
  const Clock& clock_;
};

}  // namespace sluice::gateway
