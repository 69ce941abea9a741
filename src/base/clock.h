// Time as a dependency: production code asks a Clock, tests turn a ManualClock by hand.
#pragma once

#include <atomic>
#include <chrono>

namespace sluice {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

// Callable from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic: intervals, deadlines, latencies.
  virtual TimePoint now() const = 0;
  // Seconds since the Unix epoch: what is shown or stored.
  virtual double unix_seconds() const = 0;
};

// The machine's clocks. Lives as long as the process.
const Clock& system_clock();

class ManualClock : public Clock {
 public:
  TimePoint now() const override { return TimePoint(Duration(ticks_.load())); }
  double unix_seconds() const override { return 1.7e9 + static_cast<double>(ticks_.load()) * 1e-9; }
  void advance(Duration by) { ticks_ += by.count(); }

 private:
  std::atomic<Duration::rep> ticks_{0};
};

inline double to_seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace sluice
