// LoadWindow: one load sample for each of the last seconds, and their average. docs/autoscaling.md,
// "The signal", says what is taken and how the average is made.
//
// Not thread-safe: Kpa owns it. Time is given, never asked for: whole seconds of any clock that
// does not go back. Memory: 16 bytes for each second of the span.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace sluice::control {

class LoadWindow {
 public:
  using Seconds = std::chrono::seconds;

  // No load is larger; whatever is comes from a broken meter.
  static constexpr double kMaxSample = 1e12;

  // `span` ≥ 1 s: how far back samples are kept.
  explicit LoadWindow(Seconds span);

  // Keeps the samples that the new span still holds.
  void resize(Seconds span, Seconds now);

  // The load of [second, second + 1). Once more for the same second: the new value holds. False,
  // and nothing changes: the second is not over at `now` or older than the span, or the value is no
  // load.
  bool add(Seconds now, Seconds second, double value);

  // Of the seconds [now - length, now), length ≤ span: their sum, divided by how many of them there
  // were since the first sample. Nothing when no sample lies in them.
  std::optional<double> average(Seconds now, Seconds length) const;

  Seconds span() const { return Seconds(static_cast<int64_t>(slots_.size())); }

 private:
  struct Slot {
    int64_t second = INT64_MIN;
    double value = 0;
  };

  size_t index(int64_t second) const;

  std::vector<Slot> slots_;  // a second lies at its remainder
  int64_t first_ = INT64_MAX;
};

}  // namespace sluice::control
