// ApiServer: the HTTP side of the control plane. Who may come in is decided on the event loop, the
// work is done by a few workers.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/worker_pool.h"
#include "control/access.h"
#include "control/audit.h"
#include "control/objects.h"
#include "control/rest.h"
#include "net/server.h"
#include "telemetry/metrics.h"

namespace sluice::control {

// A call that is about the process and not about objects, such as the notice that this machine is
// taken back. Called on a worker, for the role admin only.
using AdminCall =
    std::function<net::HttpResponse(const net::HttpRequest& request, const Identity& who)>;

class ApiServer : public net::HttpHandler {
 public:
  ApiServer(Objects& objects, Access access, Audit& audit, telemetry::Metrics& metrics);

  std::optional<net::HttpResponse> refuse(const net::HttpRequest& head) override;
  void handle(net::HttpRequest request, std::shared_ptr<net::Responder> responder) override;

  // Errors of the HTTP server's own, as Status objects.
  static net::HttpResponse error_page(int status, std::string_view message, std::string_view path);

  ReplicaLogs& logs() { return logs_; }
  void set_replica_metrics(Rest::ReplicaCall call) { rest_.set_replica_metrics(std::move(call)); }

  // What stands on /metrics besides this server's own; none: nothing. Called on loop threads.
  void set_more_metrics(std::function<std::string()> page);
  // Answers what lies below /admin/v1/; none: nothing lies there.
  void set_admin_call(AdminCall call);

  // From here on /ready says no.
  void set_draining() { draining_ = true; }

 private:
  net::HttpResponse answer_admin(const net::HttpRequest& request, const Identity& who);
  std::optional<net::HttpResponse> health_page(const net::HttpRequest& request) const;
  void count(std::string_view verb, int code);
  void describe_metrics();

  Objects& objects_;
  const Access access_;
  Audit& audit_;
  telemetry::Metrics& metrics_;
  std::mutex more_metrics_mutex_;  // held while the page is made
  std::function<std::string()> more_metrics_;
  std::mutex admin_mutex_;  // held while the call runs
  AdminCall admin_;
  ReplicaLogs logs_;
  Rest rest_;
  std::atomic<bool> draining_{false};
  WorkerPool workers_;  // last: its tasks use all else
};

}  // namespace sluice::control
