// The answer side of a connection: what a Responder does, on any thread.

#include <utility>

#include "net/connection.h"
#include "net/response_head.h"

namespace sluice::net {

Exchange::Exchange(std::shared_ptr<Connection> connection, Shape shape)
    : connection_(std::move(connection)), shape_(std::move(shape)) {
  const std::lock_guard lock(connection_->mutex_);
  connection_->current_ = this;
}

Exchange::~Exchange() {
  bool unanswered = false;
  {
    const std::lock_guard lock(connection_->mutex_);
    unanswered = phase_ == Phase::kOpen;
    if (phase_ == Phase::kStreaming) connection_->cut("abandoned_stream");
  }
  if (unanswered) {
    send(connection_->context_->error_body(500, "the request was dropped without an answer",
                                           shape_.path));
  }
  const std::lock_guard lock(connection_->mutex_);
  if (connection_->current_ == this) connection_->current_ = nullptr;
}

bool Exchange::keep_alive(const Headers& headers) const {
  return shape_.keep_alive && !connection_->context_->draining &&
         !equals_ignoring_case(find_header(headers, "connection"), "close");
}

// All bytes of the answer are in pending_; the mutex is held.
void Exchange::complete() {
  phase_ = Phase::kDone;
  connection_->current_ = nullptr;
  connection_->answer_done_ = true;
  connection_->ring();
}

void Exchange::send(HttpResponse response) {
  std::function<void()> released;  // destroyed behind the lock: it may own anything
  const std::lock_guard lock(connection_->mutex_);
  if (phase_ != Phase::kOpen) return;
  const bool keep = keep_alive(response.headers);
  Framing framing{.close = !keep, .keep_alive_10 = keep && shape_.http10};
  if (status_has_body(response.status)) framing.length = response.body.size();
  std::string& out = connection_->pending_;
  append_response_head(response.status, response.headers, framing, out);
  if (framing.length && !shape_.head_only) out += response.body;
  connection_->close_after_ = !keep;
  released.swap(on_close_);
  complete();
}

void Exchange::start(int status, Headers headers) {
  const std::lock_guard lock(connection_->mutex_);
  if (phase_ != Phase::kOpen) return;
  phase_ = Phase::kStreaming;
  bodyless_ = shape_.head_only || !status_has_body(status);
  const bool chunked = !shape_.http10 && status_has_body(status);
  const bool keep = keep_alive(headers) && !shape_.http10;
  append_response_head(status, headers, {.chunked = chunked, .close = !keep},
                       connection_->pending_);
  connection_->close_after_ = !keep;
  connection_->ring();
}

bool Exchange::write(std::string_view bytes) {
  const std::lock_guard lock(connection_->mutex_);
  if (phase_ != Phase::kStreaming) return false;
  if (bytes.empty() || bodyless_) return true;
  if (connection_->over_unsent_limit(bytes.size())) {
    phase_ = Phase::kCut;
    connection_->cut("slow_reader");
    return false;
  }
  if (shape_.http10) {
    connection_->pending_ += bytes;
  } else {
    append_chunk(bytes, connection_->pending_);
  }
  connection_->ring();
  return true;
}

void Exchange::finish() {
  std::function<void()> released;
  const std::lock_guard lock(connection_->mutex_);
  if (phase_ != Phase::kStreaming) return;
  if (!bodyless_ && !shape_.http10) connection_->pending_ += kLastChunk;
  released.swap(on_close_);
  complete();
}

void Exchange::on_close(std::function<void()> callback) {
  {
    const std::lock_guard lock(connection_->mutex_);
    if (phase_ == Phase::kDone) return;
    if (phase_ != Phase::kCut) {
      on_close_.swap(callback);
      return;
    }
  }
  if (callback) callback();
}

bool Exchange::closed() const {
  const std::lock_guard lock(connection_->mutex_);
  return phase_ == Phase::kCut;
}

}  // namespace sluice::net
