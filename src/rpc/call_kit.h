// CallKit: what every call of the service has to do alike. Internal to rpc.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "open_inference.pb.h"
#include "rpc/server.h"

namespace sluice::rpc {

// The requests under way, counted for the drain. Callable from any thread.
class Running {
 public:
  struct Exit {
    void operator()(Running* running) const { running->exit(); }
  };
  // One request's place among them, until it is destroyed.
  using Place = std::unique_ptr<Running, Exit>;

  // Fails once the server leaves.
  Result<Place> enter();
  void leave();
  bool leaving() const;
  // Waits until none is left or the time is over; how many are left.
  size_t wait_until(TimePoint deadline) const;

 private:
  void exit();

  mutable std::mutex mutex_;
  mutable std::condition_variable none_left_;
  size_t count_ = 0;
  bool leaving_ = false;
};

// Callable from any thread. Shared by the service and its calls, whose work may still stand in the
// worker pool when the server is gone.
struct CallKit {
  completion::Backend& backend;
  telemetry::Metrics& metrics;
  WorkerPool& workers;
  const RpcOptions options;
  const Clock& clock;
  mutable Running running{};

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
                                      inference::ModelInferResponse& response, Caller caller,
                                      Running::Place place);
grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
start_stream(KitPtr kit, grpc::CallbackServerContext& context, const Result<Caller>& caller);

}  // namespace sluice::rpc
