// One accepted connection: bytes in, requests to the handler, answers out, deadlines, the end.
//
// Two sides meet here. The loop side reads, parses, sends and closes, on the loop's thread only.
// The answer side (class Exchange, the Responder of one request) runs on any thread: it appends to
// `pending_` under the mutex and rings the loop at most once until the loop has looked.
//
// A connection is in one phase at a time:
//
//   kIdle ─ first byte → kReading ─ whole request → kAnswering ─ answer sent → kIdle …
//   any fault, or an answer that ends the connection → kLingering → kClosed
//
// Requests are taken one after another; the next is not looked at before the answer has left.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "net/event_loop.h"
#include "net/request_parser.h"
#include "net/server_context.h"
#include "net/stream.h"

namespace sluice::net {

class Exchange;

class Connection final : public EventLoop::Watcher,
                         public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerContext> context, std::shared_ptr<ServerLoop> loop, Fd socket,
             std::string peer);

  // Loop side.
  void begin();
  // Answers 503 and closes: there are too many connections.
  void begin_refusing();
  void on_events(uint32_t events) override;
  // Closes now if no request is being read or answered, else behind the answer. Who connected only
  // just now is given a moment for its first request.
  void drain();
  void close();

  // No byte of a request has come.
  bool idle() const { return phase_ == Phase::kIdle && input_.empty(); }
  TimePoint idle_since() const { return idle_since_; }

 private:
  friend class Exchange;
  enum class Phase { kIdle, kReading, kAnswering, kLingering, kClosed };

  bool secure();
  void on_readable();
  void on_client_gone();
  void process(std::string_view bytes);
  void process_buffered();
  void close_if_finished();
  void on_head(bool body_has_begun);
  void dispatch();
  void answer_here(const HttpResponse& response, bool keep_alive);
  void fail(int status, std::string_view reason, std::string_view message);
  void account_body();
  void release_body();
  void set_read_deadline();
  void flush();
  void after_answer();
  void next_request();
  void begin_linger();
  void on_read_deadline();
  void set_phase(Phase phase);
  void update_interest();

  // Answer side, any thread; `mutex_` is held.
  void ring();
  void cut(std::string_view reason);  // has the loop close the connection
  bool over_unsent_limit(size_t more) const;

  const std::shared_ptr<ServerContext> context_;
  const std::shared_ptr<ServerLoop> loop_;
  const std::string peer_;

  // Loop side only.
  const std::shared_ptr<const TlsContext> tls_;  // none: in the clear
  Stream stream_;
  Phase phase_ = Phase::kIdle;
  RequestParser parser_;
  std::string input_;  // bytes behind the request being answered
  std::string sending_;
  size_t sent_ = 0;                       // of sending_
  std::atomic<size_t> sending_left_ = 0;  // what is not; read by the answer side
  size_t progress_ = 0;  // bytes taken by the client since its deadline was last moved
  size_t counted_body_ = 0;
  TimePoint reading_since_{};
  TimePoint idle_since_ = EventLoop::now();
  uint32_t interest_ = 0;
  bool in_process_ = false;
  bool fresh_ = true;     // no request has come yet
  bool awaited_ = false;  // draining, and the first request is waited for
  bool end_of_input_ = false;
  bool in_flight_ = false;
  bool blocked_ = false;        // the socket is full: bytes wait until it is writable again
  bool reading_again_ = false;  // posted: bytes lie in the stream that epoll knows nothing of
  EventLoop::Timer read_timer_;
  EventLoop::Timer write_timer_;

  mutable std::mutex mutex_;     // guards what follows, and the state of every Exchange
  std::string pending_;          // bytes for the client, behind those of sending_
  Exchange* current_ = nullptr;  // whose answer is not complete
  bool answer_done_ = false;     // all of it is in pending_
  bool close_after_ = false;     // the connection ends with this answer
  bool rung_ = false;
  bool closed_ = false;
};

// The Responder of one request on one connection.
class Exchange final : public Responder {
 public:
  struct Shape {
    bool head_only;  // HEAD: no body is sent
    bool http10;     // no chunked coding
    bool keep_alive;
    std::string path;
  };

  Exchange(std::shared_ptr<Connection> connection, Shape shape);
  ~Exchange() override;

  void send(HttpResponse response) override;
  void start(int status, Headers headers) override;
  bool write(std::string_view bytes) override;
  void finish() override;
  void on_close(std::function<void()> callback) override;
  bool closed() const override;

 private:
  friend class Connection;
  // kCut: the connection ended, or is about to, before the answer did.
  enum class Phase { kOpen, kStreaming, kDone, kCut };

  void complete();
  bool keep_alive(const Headers& headers) const;

  const std::shared_ptr<Connection> connection_;
  const Shape shape_;
  // Guarded by connection_->mutex_.
  Phase phase_ = Phase::kOpen;
  bool bodyless_ = false;
  std::function<void()> on_close_;
};

}  // namespace sluice::net
