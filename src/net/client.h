// The HTTP/1.1 client for our own and compatible servers: keep-alive connections, many answers at
// once on one event loop, bodies passed on as they arrive (chat, bench, the gateway's upstreams).
// Downloads from the public internet go through net/download.h instead.
//
// No redirects, no cookies, no proxies, no content coding; http:// only.
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

struct ClientRequest {
  std::string method = "GET";
  std::string url;       // http://host[:port]/path?query
  Headers headers = {};  // Host, Content-Length and Connection are added
  std::string body = {};
  Duration timeout{};  // for the whole exchange, however much it moves; 0: none
};

// Called on the client's loop thread: must not block. on_end is called exactly once, last, also
// after a cancel (kCancelled); for a request that cannot be begun (a bad URL, an unknown host) on
// the caller's thread, before request() returns. Unset members are skipped.
struct ClientCallbacks {
  std::function<void(int status, const Headers& headers)> on_head = {};
  std::function<void(std::string_view bytes)> on_data = {};  // transfer coding removed
  std::function<void(Outcome outcome)> on_end = {};
};

struct ClientOptions {
  Duration connect_timeout = std::chrono::seconds(10);
  Duration read_timeout = std::chrono::minutes(10);  // no byte of the answer for so long
  Duration idle_timeout = std::chrono::seconds(60);  // an unused connection is closed
  size_t max_header_bytes = 64u << 10;
  size_t max_body_bytes = 64u << 20;  // of fetch()
  size_t max_connections = 4096;      // more requests at once fail with kResourceExhausted
};

// Stops one request. Copyable; may be dropped (the request then runs on).
class ClientCall {
 public:
  ClientCall() = default;
  // Any thread. The connection is closed; on_end follows on the loop's thread. Without effect
  // when the request has ended.
  void cancel();

 private:
  friend class HttpClient;
  std::function<void()> cancel_;
};

// Callable from any thread. Destroying it cancels what is open and waits for the loop.
class HttpClient {
 public:
  explicit HttpClient(ClientOptions options = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Names are resolved on the calling thread (and remembered), so this may block for a moment.
  ClientCall request(ClientRequest request, ClientCallbacks callbacks);

  // The whole answer. Not from inside a callback.
  Result<HttpResponse> fetch(ClientRequest request);

 private:
  struct Impl;
  ClientCall launch(ClientRequest request, ClientCallbacks callbacks, size_t max_body_bytes);
  std::shared_ptr<Impl> impl_;
};

}  // namespace sluice::net
