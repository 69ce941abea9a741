// Gateway: the HttpHandler of the front door. It tells who asks, finds the route, and hands the
// request to a relay (servers of any make) or to the route's own handler (Sluice replicas).
//
//   GET /health /ready       open to all
//   GET /metrics             an admin's key, unless the plan makes it public
//   GET /version, /v1/models[/{id}]   any key
//   GET /usage?from=DAY&to=DAY        an admin's key
//   anything else            by the plan's routes
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/worker_pool.h"
#include "gateway/access_log.h"
#include "gateway/balancer.h"
#include "gateway/gateway_metrics.h"
#include "gateway/graph_run.h"
#include "gateway/load_reporter.h"
#include "gateway/payload_log.h"
#include "gateway/predict_batch.h"
#include "gateway/quota.h"
#include "gateway/relay.h"
#include "gateway/response_cache.h"
#include "gateway/snapshot.h"
#include "gateway/watcher.h"
#include "net/client.h"
#include "net/event_loop.h"
#include "net/server.h"
#include "plan/plan.h"
#include "telemetry/metrics.h"

namespace sluice::gateway {

// Callable from any thread; handle() on the server's loops. What it refers to outlives it.
class Gateway : public net::HttpHandler {
 public:
  // Answers the requests of routes over Sluice replicas, from the loop's thread on, and tells the
  // relay host of their end.
  using SluiceHandler = std::function<void(RelayRequest request)>;

  // `loops` are the server's.
  Gateway(std::shared_ptr<const plan::Plan> plan,
          const std::vector<std::shared_ptr<net::EventLoop>>& loops, WorkerPool& workers,
          telemetry::Metrics& metrics, const Clock& clock = system_clock());
  ~Gateway() override;

  // Once, before the server starts: opens the access log and the ledger.
  Outcome open();
  // Once, when the loops run: checks and discovery begin.
  void begin();
  // Before the loops end: what begin() began is over when this returns.
  void end();

  // Takes a plan in place of the one in force. Requests under way keep theirs. Refused by name:
  // a change of what only a start can change.
  Outcome apply(std::shared_ptr<const plan::Plan> plan);
  // A plan was refused.
  void note_bad_reload() { gateway_metrics_.reload(false); }
  void drain();
  // No request is under way any more: the control plane is told, and sinks of payloads get what is
  // left for them. Blocks for two seconds at most.
  void end_reports();
  // Some route has a usable replica, and it is not draining.
  bool ready() const { return is_ready(*snapshot()); }

  std::shared_ptr<const Snapshot> snapshot() const;
  ReplicaChooser& chooser() { return balancer_; }
  GatewayMetrics& metrics() { return gateway_metrics_; }
  RelayHost& relay_host() { return relay_host_; }
  // Before the server starts; the tracer outlives this.
  void set_tracer(const telemetry::Tracer* tracer) { relay_host_.tracer = tracer; }
  // Without one, Sluice replicas are relayed to as foreign servers.
  // Null before open().
  Quota* quota() { return quota_.get(); }
  void set_sluice_handler(SluiceHandler handler) { sluice_handler_ = std::move(handler); }

  std::optional<net::HttpResponse> refuse(const net::HttpRequest& head) override;
  void handle(net::HttpRequest request, std::shared_ptr<net::Responder> responder) override;

 private:
  struct LoopParts {
    std::shared_ptr<net::EventLoop> loop;
    std::unique_ptr<net::HttpClient> client;
    std::unique_ptr<PredictBatcher> batcher;
  };

  // What refuse() found out for handle(), so that a request is judged once, and by one plan.
  struct Known {
    std::shared_ptr<const Snapshot> snapshot;
    Caller caller;
  };

  // Nobody where no key was sent; kUnauthenticated for a bad one.
  Result<Caller> identify(const Snapshot& snapshot, const net::HttpRequest& request) const;
  std::optional<net::HttpResponse> own_page(const Snapshot& snapshot, const Caller& caller,
                                            const net::HttpRequest& request);
  bool is_ready(const Snapshot& snapshot) const;
  void send_usage(RelayRequest request);
  void route(RelayRequest request);
  // A request of the gateway's own to its route, with nothing made of it yet but body and head.
  void ask_itself(RelayRequest request);
  // Which model it asks for, and its trace, once its body is read.
  void describe(RelayRequest& request);
  void explain(RelayRequest request, LoopParts& parts);
  void ask_explainer(RelayRequest request, LoopParts& parts);
  void run_graph(const Graph& graph, RelayRequest request);
  void refuse_unknown(RelayRequest& request);
  // What is done of a request before it goes on: explained, transformed, answered from the cache.
  void enter(RelayRequest request);
  LoopParts* parts_here();
  // Through the wait for a server, where the route's upstreams have one, to the route's own
  // handler.
  void charge(RelayRequest request, LoopParts& parts);
  void send(RelayRequest request, LoopParts& parts);
  void send_again(RelayRequest request, LoopParts& parts);
  void pass_on(RelayRequest request, LoopParts& parts);
  // Goes on with `then`, on the loop's thread, once the caller's limits have let it in: at once, or
  // when those that are shared have answered. Whom they do not let in is told so.
  void reserve(RelayRequest request, const TokenUse& most,
               const std::shared_ptr<net::EventLoop>& loop, std::function<void(RelayRequest)> then);
  // The route's payload log is told of the request, and will be of its answer.
  void log_payload(RelayRequest& request);
  // True: answered from the cache, or refused, now or soon. Else the answer may be recorded for it.
  bool answer_again(RelayRequest& request, const std::shared_ptr<net::EventLoop>& loop);
  void over(RequestRecord& record);
  void refused(RelayRequest& request, const Status& status, net::Headers headers = {});
  void free_retired();
  void set_gauges();
  void count_decisions(const Snapshot& snapshot);
  RequestRecord new_record(const net::HttpRequest& request) const;

  const Clock& clock_;
  telemetry::Metrics& metrics_;
  WorkerPool& workers_;
  GatewayMetrics gateway_metrics_;
  std::unique_ptr<AccessLog> access_log_;
  std::unique_ptr<Quota> quota_;
  RelayHost relay_host_;
  StepHost step_host_;
  const std::shared_ptr<ResponseCache> cache_;     // answers under way may outlive this
  const std::shared_ptr<PayloadLog> payload_log_;  // likewise
  Balancer balancer_;
  std::vector<LoopParts> loops_;
  std::shared_ptr<Watcher> watcher_;
  SluiceHandler sluice_handler_;
  std::atomic<bool> draining_ = false;

  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<const Snapshot> snapshot_;
  // Not in force any more: kept so that no request pays for their end, but whoever looks after
  // them.
  std::vector<std::shared_ptr<const Snapshot>> retired_;

  std::unique_ptr<LoadReporter> reporter_;  // its thread uses all the others
};

}  // namespace sluice::gateway
