// InternalRoutes: what a gateway asks of a runtime.
//
//   POST /internal/v1/generate    a typed request → framed events (api/internal_request, …_events)
//   POST /internal/v1/tokenize    POST /internal/v1/detokenize
//   GET  /internal/v1/identity    models with their numerics ids, and the load, as JSON
//   POST /internal/v1/blocks      what the prefix caches hold, as it changes (api/block_events)
//   POST /internal/v1/drain       no new requests; whoever reads a stream is told to go elsewhere
// All need the deployment's internal token, which Endpoints checks.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/worker_pool.h"
#include "completion/backend.h"
#include "endpoint/block_stream.h"
#include "endpoint/internal_stream.h"
#include "net/router.h"
#include "net/server.h"

namespace sluice::endpoint {

// Callable from any thread. What it refers to outlives it, and it the routes. A thread of its own
// beats on every stream, so that a gateway can tell a slow engine from a dead process. An engine
// that makes no step for kStuckAfter while a stream waits for it gets no beat.
class InternalRoutes {
 public:
  static constexpr std::chrono::milliseconds kBeatInterval{100};
  static constexpr std::chrono::seconds kStuckAfter{60};
  static constexpr std::chrono::seconds kBlockBeatInterval{1};
  static constexpr size_t kMaxBlockStreams = 64;

  // `drain` makes the backend refuse new requests; it may be empty.
  InternalRoutes(completion::Backend& backend, WorkerPool& workers, std::function<void()> drain,
                 std::chrono::seconds request_timeout, const Clock& clock);
  ~InternalRoutes();

  void add_to(net::Router& router);
  // Tells every stream's reader that this server is leaving; streams of blocks end.
  void leave();

 private:
  struct Progress {
    uint64_t step = 0;
    TimePoint since{};
  };
  using Work = std::function<void(const net::HttpRequest&, net::Responder&)>;

  net::RouteHandler on_worker(Work work);
  void generate(net::HttpRequest request, const std::shared_ptr<net::Responder>& responder);
  void begin(const std::string& body, const telemetry::SpanContext& trace,
             const std::shared_ptr<InternalStream>& stream,
             const std::shared_ptr<net::Responder>& responder);
  void tell_blocks(const std::shared_ptr<net::Responder>& responder);
  void drain_now();
  std::string identity() const;
  std::vector<std::shared_ptr<InternalStream>> open_streams();
  std::vector<std::shared_ptr<BlockStream>> open_block_streams();
  void run(const std::stop_token& stop);
  void beat();
  void beat_blocks();

  completion::Backend& backend_;
  WorkerPool& workers_;
  const std::function<void()> drain_;
  const std::chrono::seconds request_timeout_;
  const Clock& clock_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable_any wake_;
  std::vector<std::weak_ptr<InternalStream>> streams_;
  std::vector<std::shared_ptr<BlockStream>> block_streams_;
  bool leaving_ = false;

  std::unordered_map<std::string, Progress> progress_;  // by model; the beating thread's
  TimePoint blocks_beaten_{};                           // the same
  std::jthread thread_;
};

}  // namespace sluice::endpoint
