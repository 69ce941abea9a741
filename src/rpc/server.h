// RpcServer: the Open Inference Protocol over gRPC, over any completion::Backend: HTTP/2, in the
// clear or under TLS, with gRPC's health service beside (which, as /health and /ready, needs no
// key).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/worker_pool.h"
#include "completion/backend.h"
#include "telemetry/metrics.h"
#include "telemetry/trace_context.h"

namespace sluice::rpc {

// What a caller sent beside its request; names in lower case, "host" being what it asked for.
using CallHeaders = std::vector<std::pair<std::string, std::string>>;

// Who calls: the request's tenant, and what the front knows of the caller (Request::context).
struct Caller {
  std::string tenant;
  std::shared_ptr<const void> context = {};
  telemetry::SpanContext trace = {};  // of metadata traceparent
};

// PEM files, as those of net::TlsServerOptions.
struct RpcTls {
  std::string certificate_file;
  std::string key_file;
  std::string client_ca_file;  // empty: no client is asked for a certificate
  bool client_certificate_required = true;
  std::chrono::seconds look_again{0};  // for new files; 0: never
};

struct RpcOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;  // 0: any free one
  // A listening socket that another process holds; host and port are not used then. Taken over by
  // start().
  std::optional<int> listen_fd = {};
  std::optional<RpcTls> tls;
  std::chrono::seconds request_timeout{600};
  // Who calls, or why not. Called on gRPC's threads.
  std::function<Result<Caller>(const CallHeaders&, const std::string& peer)> authorize;
  // Whether there is such a model for this caller; unset: whatever the backend has.
  std::function<Outcome(const Caller&, const std::string& model)> may_use = {};
  // The same for changes of the model repository.
  std::function<Outcome(const CallHeaders&)> authorize_admin;
};

// Callable from any thread but gRPC's own. What it refers to outlives it.
class RpcServer {
 public:
  // Listens and serves. Fails when the address cannot be bound.
  static Result<std::unique_ptr<RpcServer>> start(completion::Backend& backend,
                                                  telemetry::Metrics& metrics, WorkerPool& workers,
                                                  RpcOptions options,
                                                  const Clock& clock = system_clock());
  ~RpcServer();
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  uint16_t port() const;

  // From here on the server says that it is not ready and refuses new requests as unavailable,
  // those of open streams too; requests under way go on.
  void leave();

  // Leaves, and ends once no request is under way or `patience` is over. True when none was cut.
  bool drain(Duration patience);

 private:
  struct Impl;
  explicit RpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::rpc
