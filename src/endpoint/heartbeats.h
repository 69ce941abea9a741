// Heartbeats: SSE comments on internal streams while the engine behind them makes steps, so that a
// gateway can tell a slow engine from a hung one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "completion/backend.h"
#include "net/server.h"

namespace sluice::endpoint {

// Callable from any thread. Its own thread looks at the engines' step counts a few times a second.
class Heartbeats {
 public:
  static constexpr std::chrono::milliseconds kInterval{100};

  explicit Heartbeats(const completion::Backend& backend);
  ~Heartbeats();

  // Comments ": step N" go to the started stream until it ends, at most one an interval.
  void add(std::weak_ptr<net::Responder> stream, std::string model);

 private:
  struct Stream {
    std::weak_ptr<net::Responder> responder;
    std::string model;
    uint64_t last_step = 0;
  };
  void run(const std::stop_token& stop);
  void beat();

  const completion::Backend& backend_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::vector<Stream> streams_;
  std::jthread thread_;
};

}  // namespace sluice::endpoint
