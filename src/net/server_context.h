// What the connections of one server share.
//
// Outlives the server while a Responder is still held somewhere. The counters may be touched by
// any thread; the rest is set before the loops run.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "net/event_loop.h"
#include "net/forwarded.h"
#include "net/server.h"
#include "net/tls.h"

namespace sluice::net {

class Connection;

class ServerContext {
 public:
  ServerContext(ServerLimits limits, ErrorBody error_body, std::shared_ptr<HttpHandler> handler)
      : limits(limits), error_body(std::move(error_body)), handler(std::move(handler)) {}

  const ServerLimits limits;
  const ErrorBody error_body;
  std::shared_ptr<HttpHandler> handler;
  std::shared_ptr<const TrustedProxies> trusted_proxies;
  std::atomic<std::shared_ptr<const TlsContext>> tls;  // of connections to come; none: in the clear

  std::atomic<bool> draining{false};
  std::atomic<uint64_t> accepted{0};
  std::atomic<uint64_t> open{0};
  std::atomic<uint64_t> requests{0};
  std::atomic<uint64_t> in_flight{0};
  std::atomic<uint64_t> received{0};
  std::atomic<uint64_t> sent{0};
  std::atomic<uint64_t> buffered_bodies{0};

  // `reason` must be a literal.
  void count_rejection(std::string_view reason);
  std::map<std::string_view, uint64_t> rejections() const;

  // Connections between the first byte of a request and the last byte of its answer.
  void begin_busy() { ++busy_; }
  void end_busy();
  // True when none was left before `patience` was over.
  bool wait_idle(Duration patience);

 private:
  std::atomic<int64_t> busy_{0};
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::map<std::string_view, uint64_t> rejections_;
};

// One loop and the connections that live on it (touched on its thread only).
struct ServerLoop {
  explicit ServerLoop(std::shared_ptr<EventLoop> events) : events(std::move(events)) {}

  // Makes room for a new connection: the client that has asked for nothing the longest is the one
  // that will miss its connection least. False when every connection has a request.
  bool close_longest_idle();

  std::shared_ptr<EventLoop> events;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
};

}  // namespace sluice::net
