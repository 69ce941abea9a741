#include "rpc/call_kit.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace sluice::rpc {
namespace {

constexpr std::array<std::string_view, 17> kStatusNames = {
    "ok",        "cancelled",      "unknown",           "invalid_argument",   "deadline_exceeded",
    "not_found", "already_exists", "permission_denied", "resource_exhausted", "failed_precondition",
    "aborted",   "out_of_range",   "unimplemented",     "internal",           "unavailable",
    "data_loss", "unauthenticated"};

}  // namespace

Result<Running::Place> Running::enter() {
  const std::lock_guard lock(mutex_);
  if (leaving_) {
    return fail(Code::kUnavailable, "the server is draining: ask another", {}, "draining");
  }
  ++count_;
  return Place(this);
}

void Running::exit() {
  const std::lock_guard lock(mutex_);
  if (--count_ == 0) none_left_.notify_all();
}

void Running::leave() {
  const std::lock_guard lock(mutex_);
  leaving_ = true;
}

bool Running::leaving() const {
  const std::lock_guard lock(mutex_);
  return leaving_;
}

size_t Running::wait_until(TimePoint deadline) const {
  std::unique_lock lock(mutex_);
  none_left_.wait_until(lock, deadline, [this] { return count_ == 0; });
  return count_;
}

TimePoint CallKit::deadline(const grpc::CallbackServerContext& context) const {
  const TimePoint now = clock.now();
  const auto left = context.deadline() - std::chrono::system_clock::now();
  const Duration most = options.request_timeout;
  if (left >= most) return now + most;
  return now + std::max(Duration::zero(), std::chrono::duration_cast<Duration>(left));
}

void CallKit::count(std::string_view method, const grpc::Status& status) const {
  const auto code = static_cast<size_t>(status.error_code());
  const std::string_view name = code < kStatusNames.size() ? kStatusNames[code] : "unknown";
  metrics
      .counter(telemetry::View::kNative, "sluice_grpc_requests_total",
               "gRPC calls answered, by method and status.",
               {{"method", std::string(method)}, {"status", std::string(name)}})
      .Increment();
}

bool Cancellation::began(std::shared_ptr<completion::Call> call) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return true;
    if (!cancelled_) {
      call_ = std::move(call);
      return true;
    }
  }
  call->cancel();
  return false;
}

void Cancellation::cancel() {
  std::shared_ptr<completion::Call> call;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    call = std::exchange(call_, nullptr);
  }
  if (call) call->cancel();
}

void Cancellation::ended() {
  std::shared_ptr<completion::Call> call;
  const std::lock_guard lock(mutex_);
  ended_ = true;
  call_.swap(call);
}

}  // namespace sluice::rpc
