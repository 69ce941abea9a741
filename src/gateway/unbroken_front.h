// UnbrokenFront: answers the requests of routes over Sluice replicas: a place in the route's queue,
// then the endpoints of every protocol over an UnbrokenBackend, then the line of the access log.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/worker_pool.h"
#include "completion/backend.h"
#include "endpoint/endpoints.h"
#include "gateway/quota.h"
#include "gateway/relay.h"
#include "gateway/replica.h"
#include "gateway/snapshot.h"
#include "gateway/unbroken_backend.h"
#include "net/client.h"
#include "telemetry/metrics.h"

namespace sluice::gateway {

class WorkerGate;

// What a request brings along from the door to the backend, as its context.
struct UnbrokenOrigin;

// How a plan's route is to be answered.
UnbrokenRules unbroken_rules(const plan::Route& route);

class UnbrokenFront final : public UnbrokenRoutes {
 public:
  using CurrentSnapshot = std::function<std::shared_ptr<const Snapshot>()>;

  // Limits are the gateway's. Destroyed when no request can come any more and the workers have
  // ended; cancels what runs.
  UnbrokenFront(
      RelayHost& host, CurrentSnapshot snapshot, ReplicaChooser& chooser, WorkerPool& workers,
      telemetry::Metrics& metrics, std::function<Quota*()> quota = [] { return nullptr; });
  ~UnbrokenFront() override;

  // Before the workers end, where they end first: no fallback begins any more.
  void end();

  // On the loop that the request came in on. Never blocks.
  void answer(RelayRequest request);

  // Requests of other doors than HTTP's: their context is an UnbrokenOrigin, permit and all.
  completion::Backend& backend();

  Result<UnbrokenRoute> route(const completion::Request& request) const override;
  Result<std::string> route_of_model(const std::string& model) const override;
  std::vector<std::string> models() const override;

 private:
  class Entry;
  class Backend;

  // Chooses the branch and finds out the prompts' tokens, where a limit or the balancer needs them.
  Outcome find_tokens(const completion::Request& request, UnbrokenRoute& route);
  Outcome count_elsewhere(const UnbrokenOrigin& origin, const completion::Request& request,
                          UnbrokenRoute& route);
  // With its copy and its fallbacks.
  Result<std::shared_ptr<completion::Call>> send(UnbrokenRoute way, completion::Request request,
                                                 std::shared_ptr<completion::ResponseSink> sink);
  static TokenUse most_use(const UnbrokenOrigin& origin, const UnbrokenRoute& route,
                           completion::Request& request);
  // The sink by which the caller pays, after its limits have let the request in.
  Result<std::shared_ptr<completion::ResponseSink>> paid(
      const UnbrokenRoute& route, completion::Request& request,
      std::shared_ptr<completion::ResponseSink> sink);

  RelayHost& host_;
  const CurrentSnapshot snapshot_;
  const std::function<Quota*()> quota_;
  const std::shared_ptr<WorkerGate> workers_;  // for fallbacks
  net::HttpClient client_;
  UnbrokenBackend unbroken_;
  std::unique_ptr<Backend> backend_;
  std::shared_ptr<endpoint::Endpoints> endpoints_;
};

}  // namespace sluice::gateway
