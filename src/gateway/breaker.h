// CircuitBreaker: keeps requests from a replica that fails, and lets trials find out whether it
// still does.
//
//   closed ─ failures in a row, or a share of failures within a window → open
//   open ─ after a while (doubled with each failed trial) → half open
//   half open ─ enough trials answered → closed; one failed → open
//
// Not thread-safe: ReplicaState guards it. Time is given, never asked for.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "plan/plan.h"

namespace sluice::gateway {

class CircuitBreaker {
 public:
  enum class State { kClosed, kOpen, kHalfOpen };

  explicit CircuitBreaker(plan::BreakerPlan settings) : settings_(settings) {}

  // A new plan's settings; the state stays.
  void configure(const plan::BreakerPlan& settings) { settings_ = settings; }

  // Whether a request may go now. Closed: always. Otherwise a trial is taken when one is free.
  bool acquire(TimePoint now);
  // How an acquired request ended. `neutral`: tells nothing about the replica (it was full).
  void on_success(TimePoint now);
  void on_failure(TimePoint now);
  void on_neutral();
  // A check that failed has passed again: what was held against the replica belongs to the time
  // before. Should it open again soon, it stays open for as long as if it had never closed.
  void on_recovery(TimePoint now);

  State state() const { return state_; }
  // When an open breaker lets the first trial go.
  TimePoint retry_at() const { return open_until_; }

 private:
  void open(TimePoint now);
  void roll_window(TimePoint now);

  plan::BreakerPlan settings_;
  State state_ = State::kClosed;
  int failures_in_row_ = 0;
  int64_t window_requests_ = 0;
  int64_t window_failures_ = 0;
  TimePoint window_start_{};
  TimePoint open_until_{};
  int opened_in_row_ = 0;
  int trials_ = 0;       // under way
  int trials_good_ = 0;  // in a row
};

}  // namespace sluice::gateway
