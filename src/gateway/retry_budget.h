// RetryBudget: retries may add only so much to the load that requests make, so that a failing
// upstream is not buried under them. A token bucket: each request adds `ratio`, time adds
// `per_second`, a retry takes one.
#pragma once

#include <algorithm>
#include <mutex>

#include "base/clock.h"

namespace sluice::gateway {

// Any thread.
class RetryBudget {
 public:
  RetryBudget(double ratio, double per_second)
      : ratio_(ratio),
        per_second_(per_second),
        most_(std::max(per_second, ratio > 0 ? kBurst : 0.0)),
        tokens_(std::min(per_second, most_)) {}

  double ratio() const { return ratio_; }
  double per_second() const { return per_second_; }

  void on_request() {
    const std::lock_guard lock(mutex_);
    tokens_ = std::min(most_, tokens_ + ratio_);
  }

  bool take(TimePoint now) {
    const std::lock_guard lock(mutex_);
    if (last_ != TimePoint{}) {
      tokens_ = std::min(most_, tokens_ + to_seconds(now - last_) * per_second_);
    }
    last_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  static constexpr double kBurst = 100;

  const double ratio_;
  const double per_second_;
  const double most_;
  std::mutex mutex_;
  double tokens_;
  TimePoint last_{};
};

}  // namespace sluice::gateway
