#include "gateway/step_responder.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sluice::gateway {

StepResponder::StepResponder(net::EventLoop& loop, std::shared_ptr<net::Responder> client,
                             std::string id, Callbacks callbacks)
    : loop_(loop),
      client_(std::move(client)),
      id_(std::move(id)),
      callbacks_(std::move(callbacks)) {}

StepResponder::~StepResponder() {
  tell(fail(Code::kUnavailable, "the answer was cut off", {}, "upstream_lost"));
}

bool StepResponder::leave() { return close(true); }

bool StepResponder::leave_unless_passed() { return !close(false); }

// Whether a part of the answer is with the client.
bool StepResponder::close(bool passed_too) {
  std::function<void()> gone;
  bool passes = false;
  {
    const std::lock_guard lock(mutex_);
    passes = passes_;
    if (passes && !passed_too) return true;
    if (std::exchange(closed_, true)) return passes;
    told_ = true;
    callbacks_ = {};
    gone.swap(on_close_);
  }
  if (gone) gone();
  return passes;
}

void StepResponder::send(net::HttpResponse response) { tell(std::move(response)); }

void StepResponder::start(int status, net::Headers headers) {
  std::function<void()> passed;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || std::exchange(started_, true)) return;
    answer_.status = status;
    answer_.headers = headers;
    passes_ = client_ != nullptr && status < 400;
    if (!passes_) return;
    passed = callbacks_.on_passed;
  }
  // The client knows the request by its first id.
  std::erase_if(headers, [](const auto& header) {
    return net::equals_ignoring_case(header.first, "x-request-id");
  });
  headers.emplace_back("X-Request-Id", id_);
  if (passed) loop_.post([passed] { passed(); });
  client_->start(status, std::move(headers));
}

bool StepResponder::write(std::string_view bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    if (!passes_) {
      too_large_ = too_large_ || answer_.body.size() + bytes.size() > kMaxAnswerBytes;
      if (too_large_) return false;
      answer_.body += bytes;
      return true;
    }
  }
  sent_ += bytes.size();
  return client_->write(bytes);
}

void StepResponder::finish() {
  net::HttpResponse answer;
  bool passes = false;
  bool too_large = false;
  {
    const std::lock_guard lock(mutex_);
    too_large = too_large_;
    answer = std::move(answer_);
    passes = passes_ && !closed_;
  }
  if (too_large) {
    return tell(fail(Code::kUnavailable,
                     fmt::format("the answer has more than {} bytes", kMaxAnswerBytes)));
  }
  if (passes) client_->finish();
  tell(std::move(answer));
}

void StepResponder::finish_with_error() {
  bool passes = false;
  {
    const std::lock_guard lock(mutex_);
    passes = passes_ && !closed_;
  }
  if (passes) client_->finish_with_error();
  tell(fail(Code::kUnavailable, "its stream ended with an error"));
}

void StepResponder::on_close(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      on_close_.swap(callback);
      return;
    }
  }
  if (callback) callback();
}

bool StepResponder::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void StepResponder::tell(Result<net::HttpResponse> answer) {
  std::function<void(Result<net::HttpResponse>)> told;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(told_, true)) return;
    told = std::move(callbacks_.on_answer);
    callbacks_ = {};
    on_close_ = nullptr;
  }
  if (!told) return;
  auto kept = std::make_shared<Result<net::HttpResponse>>(std::move(answer));
  loop_.post([told = std::move(told), kept] { told(std::move(*kept)); });
}

}  // namespace sluice::gateway
