// The HTTP/1.1 client for our own and compatible servers: keep-alive connections, many answers at
// once on one event loop, bodies passed on as they arrive (chat, bench, the gateway's upstreams).
// Downloads from the public internet go through net/download.h instead.
//
// No redirects, no cookies, no proxies, no content coding.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "net/http.h"

namespace sluice::net {

class EventLoop;
class NameCache;
class TlsContext;
struct SocketAddress;

struct ClientRequest {
  std::string method = "GET";
  std::string url;       // http[s]://host[:port]/path?query
  Headers headers = {};  // Host, Content-Length and Connection are added
  std::string body = {};
  Duration timeout{};          // for the whole exchange, however much it moves; 0: none
  std::string host = {};       // what the Host field says; empty: as in the URL
  Duration connect_timeout{};  // 0: as in ClientOptions
  Duration
      first_byte_timeout{};  // from the request sent to the answer's first byte; 0: read_timeout
  Duration read_timeout{};   // 0: as in ClientOptions
  std::shared_ptr<const TlsContext> tls = {};  // of https; none: the system's authorities
  std::string tls_name = {};  // that the server's certificate must name; empty: the URL's host
};

// Called on the client's loop thread: must not block. on_end is called exactly once, last, also
// after a cancel (kCancelled); for a request that cannot be begun (a bad URL) on the caller's
// thread, before request() returns. A failure's reason() is one of the words below, or empty.
// Unset members are skipped.
struct ClientCallbacks {
  std::function<void(int status, const Headers& headers)> on_head = {};
  std::function<void(std::string_view bytes)> on_data = {};  // transfer coding removed
  std::function<void(Outcome outcome)> on_end = {};
};

// The server took no connection: it cannot have seen the request.
inline constexpr std::string_view kNotConnected = "not_connected";
// Nor these, which say nothing of the server: this process had no connection, descriptor or port
// left for it, or its name could not be looked up.
inline constexpr std::string_view kNotSent = "not_sent";
inline constexpr std::string_view kNotResolved = "not_resolved";
// A kept connection was closed as the request was sent on it: most likely it was not seen.
inline constexpr std::string_view kStaleConnection = "stale_connection";
// ClientRequest::timeout was over while the server was answering, or was still to answer.
inline constexpr std::string_view kOutOfTime = "out_of_time";

struct ClientOptions {
  Duration connect_timeout = std::chrono::seconds(10);
  Duration read_timeout = std::chrono::minutes(10);  // no byte of the answer for so long
  Duration idle_timeout = std::chrono::seconds(60);  // an unused connection is closed
  size_t max_header_bytes = 64u << 10;
  size_t max_body_bytes = 64u << 20;  // of fetch()
  size_t max_connections = 4096;      // more requests at once fail with kNotSent
  NameCache* names = nullptr;         // null: the process's; outlives the client
  // Which of a host's addresses may be connected to, judged when they are known; null: all. Where
  // none may, a request fails with kPermissionDenied.
  bool (*may_connect)(const SocketAddress& address) = nullptr;
};

// Stops one request. Copyable; may be dropped (the request then runs on).
class ClientCall {
 public:
  ClientCall() = default;
  // Any thread. The connection is closed; on_end follows on the loop's thread, never inside this
  // call. Without effect when the request has ended.
  void cancel();

 private:
  friend class HttpClient;
  std::function<void()> cancel_;
};

// Callable from any thread. Destroying it cancels what is open and waits for the loop.
class HttpClient {
 public:
  explicit HttpClient(ClientOptions options = {});
  // On a loop that someone else runs: a request made on its thread starts at once, and its end may
  // then be told before request() returns. Destroyed on the loop's thread, or after the loop ended.
  HttpClient(ClientOptions options, std::shared_ptr<EventLoop> loop);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Never blocks: names are looked up on threads of their own (NameCache).
  ClientCall request(ClientRequest request, ClientCallbacks callbacks);

  // The whole answer. Not from inside a callback.
  Result<HttpResponse> fetch(ClientRequest request);

 private:
  struct Impl;
  ClientCall launch(ClientRequest request, ClientCallbacks callbacks, size_t max_body_bytes);
  std::shared_ptr<Impl> impl_;
};

}  // namespace sluice::net
