// ConnectionSource: accepts the connections of a listening socket that another process has made and
// holds. gRPC's server makes its own sockets only; it can be handed connections.
//
// A thread of its own. Several processes may accept from one socket; it does not block.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "base/status.h"

namespace sluice::rpc {

class ConnectionSource {
 public:
  // Owns the connection from then on. Called on the thread.
  using Take = std::function<void(int listener, int connection)>;

  // Owns `listener` if it succeeds.
  static Result<std::unique_ptr<ConnectionSource>> start(int listener, Take take);
  ~ConnectionSource();
  ConnectionSource(const ConnectionSource&) = delete;
  ConnectionSource& operator=(const ConnectionSource&) = delete;

  // Nothing is taken from here on; who connects waits in the socket for another process. Any
  // thread but its own, once or more.
  void end();

 private:
  ConnectionSource(int listener, int wake, Take take);
  void run();
  bool wait() const;
  void accept_all();

  const int listener_;
  const int wake_;
  const Take take_;
  std::mutex ending_;  // guards what follows
  std::thread thread_;
};

}  // namespace sluice::rpc
