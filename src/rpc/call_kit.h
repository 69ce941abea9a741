// CallKit: what every call of the service has to do alike. Internal to rpc.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "open_inference.pb.h"
#include "rpc/server.h"

namespace sluice::rpc {

// Callable from any thread. Shared by the service and its calls, whose work may still stand in the
// worker pool when the server is gone.
struct CallKit {
  completion::Backend& backend;
  telemetry::Metrics& metrics;
  WorkerPool& workers;
  const RpcOptions options;
  const Clock& clock;

  // The earlier of the caller's deadline and the server's own.
  TimePoint deadline(const grpc::CallbackServerContext& context) const;
  // Counts one ended call; `method` comes from a closed set.
  void count(std::string_view method, const grpc::Status& status) const;
};

using KitPtr = std::shared_ptr<const CallKit>;

// A generation under way that may be given up from another thread before it has begun.
class Cancellation {
 public:
  // False when cancelled already; the call is then cancelled at once.
  bool began(std::shared_ptr<completion::Call> call);
  void cancel();
  // The answer has come to its end: the call is let go, which may hold whoever holds this.
  void ended();

 private:
  std::mutex mutex_;
  std::shared_ptr<completion::Call> call_;
  bool cancelled_ = false;
  bool ended_ = false;
};

// The reactors of ModelInfer and ModelStreamInfer. Each deletes itself when gRPC is done with it.
grpc::ServerUnaryReactor* start_infer(KitPtr kit, grpc::CallbackServerContext& context,
                                      const inference::ModelInferRequest& request,
                                      inference::ModelInferResponse& response, Caller caller);
grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
start_stream(KitPtr kit, grpc::CallbackServerContext& context, const Result<Caller>& caller);

}  // namespace sluice::rpc
