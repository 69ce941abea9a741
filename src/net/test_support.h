// For the tests of this room: a raw blocking socket, and a server whose answers the test scripts.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/server.h"
#include "net/socket.h"

namespace sluice::net::testing {

inline constexpr std::chrono::seconds kPatience{20};  // only ever waited for when a test fails

// Bytes out, bytes in; every wait ends after kPatience.
class RawClient {
 public:
  explicit RawClient(uint16_t port, int receive_buffer = 0) {
    const auto addresses = resolve("127.0.0.1", port);
    fd_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer > 0) {
      ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    const timeval limit{.tv_sec = kPatience.count(), .tv_usec = 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    connected_ = ::connect(fd_.get(), addresses->front().raw(), addresses->front().length) == 0;
  }

  bool connected() const { return connected_; }

  // False when the server has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
  }

  // Up to and with `end`; what came instead when the connection ends first.
  std::string read_until(std::string_view end) {
    while (buffer_.find(end) == std::string::npos && receive()) {
    }
    const size_t at = buffer_.find(end);
    return take(at == std::string::npos ? buffer_.size() : at + end.size());
  }

  std::string read_bytes(size_t count) {
    while (buffer_.size() < count && receive()) {
    }
    return take(std::min(count, buffer_.size()));
  }

  std::string read_to_end() {
    while (receive()) {
    }
    return take(buffer_.size());
  }

  // One answer with a Content-Length: head and body.
  std::string read_answer() {
    std::string answer = read_until("\r\n\r\n");
    const size_t at = answer.find("Content-Length: ");
    if (at != std::string::npos) {
      answer += read_bytes(std::stoul(answer.substr(at + sizeof("Content-Length: ") - 1)));
    }
    return answer;
  }

  // The server has closed, and nothing came before that.
  bool at_end() { return buffer_.empty() && !receive() && buffer_.empty() && !timed_out_; }

  void half_close() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }
  void reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    fd_.reset();
  }

 private:
  bool receive() {
    std::vector<char> space(64u << 10);
    const ssize_t count = ::recv(fd_.get(), space.data(), space.size(), 0);
    if (count > 0) buffer_.append(space.data(), static_cast<size_t>(count));
    timed_out_ = count < 0 && errno == EAGAIN;
    return count > 0;
  }

  std::string take(size_t count) {
    std::string out = buffer_.substr(0, count);
    buffer_.erase(0, count);
    return out;
  }

  Fd fd_;
  std::string buffer_;
  bool connected_ = false;
  bool timed_out_ = false;
};

// A value that another thread sets and the test waits for.
class Signal {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  bool wait(int count = 1) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return count_ >= count; });
  }
  int count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

struct Arrived {
  HttpRequest request;
  std::shared_ptr<Responder> responder;
};

// "/echo" answers the request's body (or "ok"), "/hold" keeps the Responder for the test, anything
// else answers "ok".
class ScriptedHandler : public HttpHandler {
 public:
  std::function<std::optional<HttpResponse>(const HttpRequest&)> on_head;

  std::optional<HttpResponse> refuse(const HttpRequest& head) override {
    return on_head ? on_head(head) : std::nullopt;
  }

  void handle(HttpRequest request, std::shared_ptr<Responder> responder) override {
    if (request.path == "/hold") {
      const std::lock_guard lock(mutex_);
      held_.push_back({std::move(request), std::move(responder)});
      changed_.notify_all();
      return;
    }
    std::string body = request.path == "/echo" ? std::move(request.body) : "ok";
    responder->send({.status = 200, .headers = {{"Content-Type", "text/plain"}}, .body = body});
  }

  // The next request to "/hold".
  Arrived take() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kPatience, [&] { return !held_.empty(); })) return {};
    Arrived first = std::move(held_.front());
    held_.pop_front();
    return first;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Arrived> held_;
};

// A running server with a scripted handler.
struct TestServer {
  explicit TestServer(ServerOptions options = {}) : handler(std::make_shared<ScriptedHandler>()) {
    auto started = HttpServer::start(std::move(options), handler);
    if (!started) ADD_FAILURE() << started.error().message();
    server = std::move(*started);
  }

  RawClient connect() const { return RawClient(server->port()); }

  // The whole conversation of one connection: `bytes` out, then everything until the server ends.
  std::string talk(std::string_view bytes) const {
    RawClient client = connect();
    client.send(bytes);
    return client.read_to_end();
  }

  uint64_t rejected(std::string_view reason) const {
    for (const auto& [name, count] : server->stats().rejected) {
      if (name == reason) return count;
    }
    return 0;
  }

  std::shared_ptr<ScriptedHandler> handler;
  std::unique_ptr<HttpServer> server;
};

// 200 of "HTTP/1.1 200 OK…", or 0.
inline int status_of(std::string_view answer) {
  if (!answer.starts_with("HTTP/1.1 ") || answer.size() < 12) return 0;
  return (answer[9] - '0') * 100 + (answer[10] - '0') * 10 + (answer[11] - '0');
}

}  // namespace sluice::net::testing
