// ControlPlane: the parts of the API server put together over a data folder.
//
//   control.db        the objects          tls.crt, tls.key    the server's certificate
//   audit.log         who changed what     kubeconfig[-ROLE]   addresses and tokens, mode 0600
//   tokens.csv        further tokens       lock                held while a process uses the folder
//
// Reconcilers are given objects() and work on it from threads of their own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/status.h"
#include "control/api_server.h"
#include "control/audit.h"
#include "control/object_store.h"
#include "control/objects.h"
#include "net/server.h"
#include "telemetry/metrics.h"

namespace sluice::control {

struct ControlOptions {
  std::filesystem::path folder;
  std::string host = "127.0.0.1";
  uint16_t port = 8001;  // 0: any free one
  // A listening socket made by someone else, used instead of host and port; it is owned and closed.
  std::optional<int> listen_fd = {};
  AdmissionPolicy policy;
};

class ControlPlane {
 public:
  // Fails when the folder is used by another process, is not writable, or holds damaged data.
  static Result<std::unique_ptr<ControlPlane>> start(const ControlOptions& options);
  ~ControlPlane();

  uint16_t port() const { return http_->port(); }
  net::ServerStats stats() const { return http_->stats(); }
  Objects& objects() { return *objects_; }
  Audit& audit() { return *audit_; }
  telemetry::Metrics& metrics() { return metrics_; }

  // Where the logs of replicas come from; none: there are no logs.
  void set_replica_logs(ReplicaLogs::Tail tail) { api_->logs().set_source(std::move(tail)); }

  void set_replica_metrics(Rest::ReplicaCall call) { api_->set_replica_metrics(std::move(call)); }
  void set_more_metrics(std::function<std::string()> page) {
    api_->set_more_metrics(std::move(page));
  }
  void set_admin_call(AdminCall call) { api_->set_admin_call(std::move(call)); }

  // Ends the watches, answers what is under way.
  bool drain(Duration patience);

 private:
  ControlPlane() = default;
  Outcome open(const ControlOptions& options);
  Outcome lock_folder(const std::filesystem::path& folder);
  void keep_house(const std::stop_token& stop);

  int lock_ = -1;
  telemetry::Metrics metrics_;
  std::unique_ptr<Audit> audit_;
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<Objects> objects_;
  std::shared_ptr<ApiServer> api_;
  std::unique_ptr<net::HttpServer> http_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread housekeeper_;
};

}  // namespace sluice::control
