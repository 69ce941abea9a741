// ApiServer: the HTTP side of the control plane. Who may come in is decided on the event loop, the
// work is done by a few workers.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "base/worker_pool.h"
#include "control/access.h"
#include "control/audit.h"
#include "control/objects.h"
#include "control/rest.h"
#include "net/server.h"
#include "telemetry/metrics.h"

namespace sluice::control {

class ApiServer : public net::HttpHandler {
 public:
  ApiServer(Objects& objects, Access access, Audit& audit, telemetry::Metrics& metrics);

  std::optional<net::HttpResponse> refuse(const net::HttpRequest& head) override;
  void handle(net::HttpRequest request, std::shared_ptr<net::Responder> responder) override;

  // Errors of the HTTP server's own, as Status objects.
  static net::HttpResponse error_page(int status, std::string_view message, std::string_view path);

  // From here on /ready says no.
  void set_draining() { draining_ = true; }

 private:
  std::optional<net::HttpResponse> health_page(const net::HttpRequest& request) const;
  void count(std::string_view verb, int code);
  void describe_metrics();

  Objects& objects_;
  const Access access_;
  Audit& audit_;
  telemetry::Metrics& metrics_;
  Rest rest_;
  std::atomic<bool> draining_{false};
  WorkerPool workers_;  // last: its tasks use all else
};

}  // namespace sluice::control
