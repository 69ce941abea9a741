#include "gateway/breaker.h"

#include <algorithm>

namespace sluice::gateway {

void CircuitBreaker::roll_window(TimePoint now) {
  if (now - window_start_ < settings_.window) return;
  window_start_ = now;
  window_requests_ = window_failures_ = 0;
}

bool CircuitBreaker::acquire(TimePoint now) {
  if (state_ == State::kClosed) return true;
  if (state_ == State::kOpen) {
    if (now < open_until_) return false;
    state_ = State::kHalfOpen;
    trials_ = trials_good_ = 0;
  }
  if (trials_ >= settings_.trial_requests) return false;
  ++trials_;
  return true;
}

void CircuitBreaker::open(TimePoint now) {
  state_ = State::kOpen;
  Duration wait = settings_.open_for;
  for (int i = 0; i < opened_in_row_ && wait < settings_.max_open; ++i) wait *= 2;
  open_until_ = now + std::min(wait, settings_.max_open);
  opened_in_row_ = std::min(opened_in_row_ + 1, 32);
  trials_ = trials_good_ = 0;
}

void CircuitBreaker::on_success(TimePoint now) {
  failures_in_row_ = 0;
  if (state_ == State::kClosed) {
    roll_window(now);
    ++window_requests_;
    return;
  }
  if (state_ != State::kHalfOpen) return;
  trials_ = std::max(0, trials_ - 1);
  if (++trials_good_ < settings_.close_after) return;
  state_ = State::kClosed;
  opened_in_row_ = 0;
  window_start_ = now;
  window_requests_ = window_failures_ = 0;
}

void CircuitBreaker::on_failure(TimePoint now) {
  ++failures_in_row_;
  if (state_ == State::kHalfOpen) return open(now);
  if (state_ == State::kOpen) return;
  roll_window(now);
  ++window_requests_;
  ++window_failures_;
  const bool many = window_requests_ >= settings_.min_requests &&
                    static_cast<double>(window_failures_) >=
                        settings_.failure_ratio * static_cast<double>(window_requests_);
  if (failures_in_row_ >= settings_.consecutive_failures || many) open(now);
}

void CircuitBreaker::on_recovery(TimePoint now) {
  state_ = State::kClosed;
  failures_in_row_ = trials_ = trials_good_ = 0;
  window_start_ = now;
  window_requests_ = window_failures_ = 0;
}

void CircuitBreaker::on_neutral() {
  if (state_ == State::kHalfOpen) trials_ = std::max(0, trials_ - 1);
}

}  // namespace sluice::gateway
