// The HTTP/1.1 server: strict parsing, hard limits, streamed answers from any thread.
//
// A few event loops own the sockets. A request is handed to the HttpHandler on its loop's thread
// with a Responder, by which any thread answers it, now or later. Whatever breaks the protocol or
// a limit is answered by the server itself and never reaches the handler.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "net/http.h"

namespace sluice::net {

class EventLoop;
class TlsContext;
class TrustedProxies;

// The one answer to one request: either send(), or start(), write()…, finish().
// Every method may be called from any thread and never blocks on the client. A Responder dropped
// without an answer answers 500; one dropped in mid stream cuts the connection, so that the client
// sees a broken answer and not a short one. Calls out of order are ignored (write() is false).
class Responder {
 public:
  virtual ~Responder() = default;

  // The whole answer.
  virtual void send(HttpResponse response) = 0;

  // Begins a streamed answer (chunked, or until close for an HTTP/1.0 client).
  virtual void start(int status, Headers headers) = 0;
  // Appends to the stream; bytes of several calls leave in one packet where they can. False when
  // the client is gone, or reads so slowly that kMaxUnsentBytes is passed (it is then cut).
  virtual bool write(std::string_view bytes) = 0;
  virtual void finish() = 0;
  // As finish(), where what was written last tells of an error: for whoever keeps count of answers.
  virtual void finish_with_error() { finish(); }

  // `callback` is called once, on any thread, if the connection ends before the answer does: in
  // any phase, also while nothing was written yet. At once if that has happened already.
  // Never called after the answer was complete.
  virtual void on_close(std::function<void()> callback) = 0;
  // The connection ended before the answer did.
  virtual bool closed() const = 0;
};

// Implemented by whoever answers requests. Called on a loop's thread: must not block.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  // Asked when the head has arrived, before any of the body is read or asked for: an answer
  // refuses the request (authentication, route unknown, …). `head.body` is empty.
  virtual std::optional<HttpResponse> refuse(const HttpRequest& head) {
    static_cast<void>(head);
    return std::nullopt;
  }

  virtual void handle(HttpRequest request, std::shared_ptr<Responder> responder) = 0;
};

// Renders an error of the server's own in the dialect that the path's users expect. `path` is
// empty when the request was not understood that far. Called on loop threads.
using ErrorBody =
    std::function<HttpResponse(int status, std::string_view message, std::string_view path)>;

struct ServerLimits {
  size_t body_bytes = limits::kMaxBodyBytes;
  size_t header_bytes = limits::kMaxHeaderBytes;
  size_t headers = limits::kMaxHeaders;
  size_t target_bytes = limits::kMaxTargetBytes;
  // One more takes the place of the longest idle one; if none is idle it is answered 503.
  size_t connections = limits::kMaxConnections;
  size_t unsent_bytes = limits::kMaxUnsentBytes;
  size_t buffered_body_bytes = 512u << 20;            // bodies being read, all connections together
  Duration header_timeout = limits::kHeaderTimeout;   // first byte to end of the head
  Duration body_timeout = limits::kBodyTimeout;       // plus one second for each 64 KiB received
  Duration idle_timeout = limits::kIdleTimeout;       // between requests
  Duration write_timeout = limits::kWriteTimeout;     // a client that takes nothing
  Duration linger_timeout = std::chrono::seconds(2);  // for reading our error before the close
};

struct ServerOptions {
  std::string host = "127.0.0.1";  // an address or a name; "::" and "0.0.0.0" mean all
  uint16_t port = 0;               // 0: any free one
  int io_threads = 1;
  // Event loops made by someone else who shares them (a client on the same threads), used instead
  // of io_threads. The server runs each on a thread of its own until it is destroyed.
  std::vector<std::shared_ptr<EventLoop>> loops = {};
  // A listening socket made by someone else (TCP or unix), used instead of host and port. The
  // server owns and closes it.
  std::optional<int> listen_fd;
  ServerLimits limits;
  std::shared_ptr<const TlsContext> tls = {};  // none: in the clear
  // Whose X-Forwarded-For is believed (HttpRequest::peer); none: nobody's.
  std::shared_ptr<const TrustedProxies> trusted_proxies = {};
  ErrorBody error_body;  // unset: {"error":{"message","type","code"}}
};

// Counters since the start, and gauges. `rejected` counts by reason (fixed words such as
// "body_too_large", "bad_header", "idle_timeout").
struct ServerStats {
  uint64_t connections_accepted = 0;
  uint64_t connections_open = 0;
  uint64_t requests_started = 0;  // handed to the handler
  uint64_t requests_in_flight = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  std::vector<std::pair<std::string, uint64_t>> rejected;
};

// Callable from any thread but a loop's own (that is: not inside HttpHandler or on_close), stats()
// and port() from everywhere. Destroying it cuts what is still open.
class HttpServer {
 public:
  // Listens and serves. Fails when the address cannot be bound.
  static Result<std::unique_ptr<HttpServer>> start(ServerOptions options,
                                                   std::shared_ptr<HttpHandler> handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;  // 0 on a unix socket

  // Connections accepted from now on use this one. Not on a server that was started without TLS.
  void set_tls(std::shared_ptr<const TlsContext> tls);

  // Closes the listening socket; open connections go on.
  void stop_accepting();

  // Stops accepting, closes idle connections and every other one behind its answer. True when all
  // answers have left before `patience` is over.
  bool drain(Duration patience);

  ServerStats stats() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::net
