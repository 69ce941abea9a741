#include "net/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "net/response_head.h"

namespace sluice::net {

namespace {

constexpr size_t kMaxInputBytes = 64u << 10;  // kept behind a request that is being answered
constexpr size_t kKeptBufferBytes = 64u << 10;
constexpr size_t kProgressBytes = 16u << 10;  // a client that takes less stands still
constexpr size_t kBodyBytesPerSecond = 64u << 10;
// While draining, of those who have connected and said nothing yet.
constexpr Duration kFirstRequestPatience = std::chrono::milliseconds(500);

RequestLimits request_limits(const ServerLimits& limits) {
  return {.body_bytes = limits.body_bytes,
          .header_bytes = limits.header_bytes,
          .headers = limits.headers,
          .target_bytes = limits.target_bytes};
}

}  // namespace

Connection::Connection(std::shared_ptr<ServerContext> context, std::shared_ptr<ServerLoop> loop,
                       Fd socket, std::string peer)
    : context_(std::move(context)),
      loop_(std::move(loop)),
      peer_(std::move(peer)),
      tls_(context_->tls.load()),
      stream_(std::move(socket)),
      parser_(request_limits(context_->limits)),
      read_timer_(*loop_->events, [this] { on_read_deadline(); }),
      write_timer_(*loop_->events, [this] {
        context_->count_rejection("write_timeout");
        close();
      }) {}

void Connection::begin() {
  ++context_->open;
  loop_->connections.emplace(this, shared_from_this());
  if (tls_) stream_.accept_tls(*tls_);
  interest_ = EPOLLIN;
  if (!loop_->events->watch(stream_.fd(), interest_, this)) return close();
  read_timer_.set(EventLoop::now() + context_->limits.header_timeout);
}

void Connection::begin_refusing() {
  begin();
  if (phase_ == Phase::kClosed) return;
  if (tls_) {  // a handshake only to say no would cost more than a request
    context_->count_rejection("too_many_connections");
    return close();
  }
  fail(503, "too_many_connections", "too many connections are open; try again later");
  update_interest();
}

void Connection::set_phase(Phase phase) {
  const auto busy = [](Phase p) { return p == Phase::kReading || p == Phase::kAnswering; };
  const bool was_busy = busy(phase_) || std::exchange(awaited_, false);
  fresh_ = fresh_ && phase == Phase::kIdle;
  phase_ = phase;
  if (busy(phase) && !was_busy) context_->begin_busy();
  if (!busy(phase) && was_busy) context_->end_busy();
}

void Connection::update_interest() {
  if (phase_ == Phase::kClosed) return;
  const bool room = input_.size() < kMaxInputBytes;
  uint32_t wanted = blocked_ || stream_.wants_write() ? EPOLLOUT : 0;
  // Even where nothing more is read, the client's leaving is noticed.
  if (!end_of_input_) wanted |= room ? EPOLLIN : EPOLLRDHUP;
  if (room && !end_of_input_ && stream_.unread() && !std::exchange(reading_again_, true)) {
    loop_->events->post([self = shared_from_this()] {
      self->reading_again_ = false;
      self->on_events(EPOLLIN);
    });
  }
  if (wanted == interest_) return;
  interest_ = wanted;
  loop_->events->rewatch(stream_.fd(), interest_, this);
}

// False while TLS's handshake is under way, or when it failed; the header's deadline runs.
bool Connection::secure() {
  switch (stream_.handshake()) {
    case Stream::State::kDone:
      return true;
    case Stream::State::kBlocked:
      update_interest();
      return false;
    case Stream::State::kEnd:
    case Stream::State::kBroken:
      break;
  }
  if (stream_.spoke_plain_http()) {
    HttpResponse told = context_->error_body(400, "this port speaks HTTPS", {});
    std::string answer;
    append_response_head(told.status, told.headers, {.length = told.body.size(), .close = true},
                         answer);
    answer += told.body;
    static_cast<void>(
        ::send(stream_.fd(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  }
  context_->count_rejection(stream_.spoke_plain_http() ? "plain_http" : "tls_handshake");
  close();
  return false;
}

void Connection::on_events(uint32_t events) {
  if (phase_ == Phase::kClosed) return;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return close();
  if (tls_ && !secure()) return;
  if ((events & EPOLLIN) != 0 || ((events & EPOLLOUT) != 0 && stream_.wants_write())) {
    on_readable();
  } else if ((events & EPOLLRDHUP) != 0) {
    on_client_gone();
  }
  if ((events & EPOLLOUT) != 0) flush();
  process_buffered();
}

void Connection::on_readable() {
  const std::span<char> space = loop_->events->scratch();
  const Stream::Moved moved = stream_.read(space);
  if (moved.state == Stream::State::kEnd) return on_client_gone();
  if (moved.state == Stream::State::kBroken) return close();
  if (moved.state == Stream::State::kBlocked) return;
  context_->received += moved.bytes;
  const std::string_view bytes(space.data(), moved.bytes);
  if (phase_ == Phase::kLingering) return;  // dropped: the client has our error
  if (phase_ == Phase::kAnswering || !input_.empty()) {
    input_ += bytes;
  } else {
    process(bytes);
  }
}

// The client has closed its half. Nobody waits for an answer that is still being made; one that is
// complete is sent to its end.
void Connection::on_client_gone() {
  end_of_input_ = true;
  bool complete = false;
  {
    const std::lock_guard lock(mutex_);
    complete = answer_done_;
  }
  const bool more_to_do = phase_ == Phase::kAnswering ? complete : !input_.empty();
  if (!more_to_do) close();
}

// Takes requests out of `bytes` until one is not answered at once; the rest is kept in input_.
void Connection::process(std::string_view bytes) {
  in_process_ = true;
  size_t requests = 0;
  while (!bytes.empty() && (phase_ == Phase::kIdle || phase_ == Phase::kReading)) {
    if (phase_ == Phase::kIdle && ++requests > limits::kMaxPipelined) {
      loop_->events->post([self = shared_from_this()] { self->process_buffered(); });
      break;
    }
    bytes.remove_prefix(parser_.feed(bytes));
    if (phase_ == Phase::kIdle && parser_.begun()) {
      set_phase(Phase::kReading);
      reading_since_ = EventLoop::now();
    }
    if (parser_.state() == RequestParser::State::kHeadDone) on_head(!bytes.empty());
    account_body();
    if (phase_ != Phase::kReading) continue;
    if (parser_.state() == RequestParser::State::kDone) {
      dispatch();
    } else if (parser_.state() == RequestParser::State::kFault) {
      const RequestFault& fault = parser_.fault();
      fail(fault.status, fault.reason, fault.message);
    }
  }
  in_process_ = false;
  if (phase_ == Phase::kClosed || phase_ == Phase::kLingering) return;
  input_ += bytes;
  if (phase_ == Phase::kReading) set_read_deadline();
  close_if_finished();
}

// The client has closed its half and no whole request of it is left.
void Connection::close_if_finished() {
  const bool waiting = phase_ == Phase::kIdle || phase_ == Phase::kReading;
  if (waiting && end_of_input_ && input_.empty()) close();
}

void Connection::process_buffered() {
  if (phase_ == Phase::kIdle && !input_.empty()) {
    const std::string bytes = std::exchange(input_, {});
    process(bytes);
  }
  close_if_finished();
  update_interest();
}

void Connection::on_head(bool body_has_begun) {
  const auto& proxies = context_->trusted_proxies;
  parser_.request().peer = proxies ? proxies->client(peer_, parser_.request().headers) : peer_;
  const auto refusal = context_->handler->refuse(parser_.request());
  if (refusal) return answer_here(*refusal, parser_.keep_alive() && !parser_.has_body());
  const bool ask = parser_.expects_continue() && parser_.has_body() && !body_has_begun;
  parser_.accept_body();
  reading_since_ = EventLoop::now();
  if (!ask) return;
  {
    const std::lock_guard lock(mutex_);
    pending_ += "HTTP/1.1 100 Continue\r\n\r\n";
  }
  flush();
}

// Bodies of all connections together are bounded, or many large uploads would be one too large.
void Connection::account_body() {
  const size_t size = parser_.request().body.size();
  if (phase_ != Phase::kReading || size == counted_body_) return;
  context_->buffered_bodies += size - counted_body_;
  counted_body_ = size;
  if (context_->buffered_bodies > context_->limits.buffered_body_bytes) {
    fail(503, "bodies_too_large", "too many request bodies are being read; try again later");
  }
}

void Connection::release_body() { context_->buffered_bodies -= std::exchange(counted_body_, 0); }

void Connection::set_read_deadline() {
  const ServerLimits& limits = context_->limits;
  if (parser_.state() == RequestParser::State::kHead) {
    return read_timer_.set(reading_since_ + limits.header_timeout);
  }
  const auto earned = std::chrono::seconds(parser_.request().body.size() / kBodyBytesPerSecond);
  read_timer_.set(reading_since_ + limits.body_timeout + earned);
}

void Connection::dispatch() {
  HttpRequest request = std::move(parser_.request());
  Exchange::Shape shape{.head_only = request.method == "HEAD",
                        .http10 = parser_.http10(),
                        .keep_alive = parser_.keep_alive(),
                        .path = request.path};
  release_body();
  read_timer_.clear();
  set_phase(Phase::kAnswering);
  in_flight_ = true;
  ++context_->in_flight;
  ++context_->requests;
  context_->handler->handle(std::move(request),
                            std::make_shared<Exchange>(shared_from_this(), std::move(shape)));
  flush();
}

// An answer of the connection's own.
void Connection::answer_here(const HttpResponse& response, bool keep_alive) {
  keep_alive = keep_alive && !context_->draining;
  release_body();
  read_timer_.clear();
  set_phase(Phase::kAnswering);
  {
    const std::lock_guard lock(mutex_);
    const Framing framing{.length = response.body.size(),
                          .close = !keep_alive,
                          .keep_alive_10 = keep_alive && parser_.http10()};
    append_response_head(response.status, response.headers, framing, pending_);
    if (parser_.request().method != "HEAD") pending_ += response.body;
    answer_done_ = true;
    close_after_ = !keep_alive;
  }
  flush();
}

void Connection::fail(int status, std::string_view reason, std::string_view message) {
  context_->count_rejection(reason);
  answer_here(context_->error_body(status, message, parser_.request().path), false);
}

void Connection::on_read_deadline() {
  switch (phase_) {
    case Phase::kIdle:
      context_->count_rejection("idle_timeout");
      return close();
    case Phase::kReading:
      if (parser_.state() == RequestParser::State::kHead) {
        fail(408, "header_timeout", "the request's header did not arrive in time");
      } else {
        fail(408, "body_timeout", "the request's body did not arrive in time");
      }
      return update_interest();
    case Phase::kLingering:
      return close();
    case Phase::kAnswering:
    case Phase::kClosed:
      return;
  }
}

void Connection::flush() {
  if (phase_ == Phase::kClosed) return;
  bool done = false;
  while (true) {
    if (sent_ == sending_.size()) {
      if (sending_.capacity() > kKeptBufferBytes) sending_ = {};
      sending_.clear();
      sent_ = 0;
      const std::lock_guard lock(mutex_);
      rung_ = false;
      sending_.swap(pending_);
      sending_left_ = sending_.size();
      done = answer_done_;
      if (sending_.empty()) break;
    }
    const Stream::Moved moved = stream_.write(std::string_view(sending_).substr(sent_));
    if (moved.state == Stream::State::kBroken) return close();
    if (moved.state == Stream::State::kBlocked) {
      if (!blocked_ || progress_ >= kProgressBytes) {
        write_timer_.set(EventLoop::now() + context_->limits.write_timeout);
        progress_ = 0;
      }
      blocked_ = true;
      return;
    }
    sent_ += moved.bytes;
    progress_ += moved.bytes;
    sending_left_ = sending_.size() - sent_;
    context_->sent += moved.bytes;
  }
  blocked_ = false;
  write_timer_.clear();
  if (done) after_answer();
}

void Connection::after_answer() {
  bool ends = false;
  {
    const std::lock_guard lock(mutex_);
    answer_done_ = false;
    ends = close_after_;
  }
  if (std::exchange(in_flight_, false)) --context_->in_flight;
  if (ends || context_->draining) return begin_linger();
  next_request();
}

void Connection::next_request() {
  parser_.reset();
  set_phase(Phase::kIdle);
  idle_since_ = EventLoop::now();
  read_timer_.set(idle_since_ + context_->limits.idle_timeout);
}

// Half closed, then read on for a while: closing with unread bytes would reset the connection and
// with it the answer that the client has not read yet.
void Connection::begin_linger() {
  if (end_of_input_) return close();
  set_phase(Phase::kLingering);
  input_ = {};
  stream_.end_output();
  read_timer_.set(EventLoop::now() + context_->limits.linger_timeout);
}

void Connection::drain() {
  const bool shaking_hands = tls_ && !secure();
  // What came before the drain is still taken.
  if (!shaking_hands && phase_ == Phase::kIdle) on_readable();
  if (phase_ == Phase::kIdle && !fresh_) return close();
  if (phase_ == Phase::kIdle && !awaited_) {
    awaited_ = true;
    context_->begin_busy();
    read_timer_.set(EventLoop::now() + kFirstRequestPatience);
  }
  update_interest();
}

void Connection::close() {
  if (phase_ == Phase::kClosed) return;
  release_body();
  set_phase(Phase::kClosed);
  if (std::exchange(in_flight_, false)) --context_->in_flight;
  --context_->open;
  read_timer_.disarm();
  write_timer_.disarm();
  loop_->events->unwatch(stream_.fd());
  stream_.close();
  auto node = loop_->connections.extract(this);
  if (!node.empty()) loop_->events->retire(std::move(node.mapped()));
  std::function<void()> gone;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    pending_ = {};
    if (current_ != nullptr) {
      current_->phase_ = Exchange::Phase::kCut;
      gone.swap(current_->on_close_);
      current_ = nullptr;
    }
  }
  if (gone) gone();
}

void Connection::ring() {
  if (closed_ || rung_) return;
  // Inside process() the loop looks by itself before it goes on.
  if (loop_->events->on_thread() && in_process_) return;
  rung_ = true;
  loop_->events->post([self = shared_from_this()] {
    self->flush();
    self->process_buffered();
  });
}

void Connection::cut(std::string_view reason) {
  if (closed_) return;
  loop_->events->post([self = shared_from_this(), reason] {
    if (self->phase_ == Phase::kClosed) return;
    self->context_->count_rejection(reason);
    self->close();
  });
}

bool Connection::over_unsent_limit(size_t more) const {
  return pending_.size() + sending_left_ + more > context_->limits.unsent_bytes;
}

}  // namespace sluice::net
