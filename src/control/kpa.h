// Kpa: how many replicas a service shall have, by the rule of Knative's pod autoscaler.
// docs/autoscaling.md is the rule, step by step, with the numbers of its steps used here;
// tests/autoscaler compares this with a second writing of it.
//
// Pure: it knows nothing of replicas or requests, only of samples and counts that it is given. One
// object for each service. Not thread-safe. Time is given, never asked for: whole seconds of any
// clock that does not go back.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

#include "base/status.h"
#include "control/load_window.h"

namespace sluice::control {

inline constexpr double kDefaultConcurrencyTarget = 100;  // requests of a replica
inline constexpr double kDefaultRpsTarget = 200;          // requests a second of a replica
inline constexpr double kDefaultUtilization = 0.7;        // the share of a target that is aimed at
inline constexpr int kDefaultPanicPercent = 10;           // of the stable window

struct KpaOptions {
  using Seconds = std::chrono::seconds;

  double target = kDefaultConcurrencyTarget * kDefaultUtilization;  // load of a replica
  Seconds stable_window{60};                                        // 6 s to 1 h
  Seconds panic_window{6};                                          // 1 s to the stable window
  double panic_threshold = 2;                                       // wanted ÷ ready; above 1
  Seconds tick{2};                  // how often the caller decides; the rule does not read it
  double max_scale_up_rate = 1000;  // × ready in one decision; above 1
  double max_scale_down_rate = 2;   // ÷ ready in one decision; above 1
  Seconds scale_to_zero_grace{30};
  Seconds scale_down_delay{0};  // at most 1 h
  int min_scale = 0;
  int max_scale = 0;  // 0: none
  int initial_scale = 1;
  double capacity = 100;      // load that one replica can take at once
  double burst_target = 211;  // load that must fit on top at any time; 0: none, -1: always hold

  bool operator==(const KpaOptions&) const = default;
};

// Whole seconds, rounded down, at least one. `percent` from 1 to 100.
std::chrono::seconds panic_window_of(std::chrono::seconds stable_window,
                                     int percent = kDefaultPanicPercent);

// The same options, or which of them is wrong, what it may be and what it was; `param` names it.
Result<KpaOptions> check_options(const KpaOptions& options);

struct KpaDecision {
  int64_t desired = 0;
  bool panicking = false;
  bool hold = true;  // the gateway must hold requests: what is ready has no room for a burst
  // What the ready replicas can take on top of their load and the burst target. Nothing with a
  // burst target of 0 or -1.
  std::optional<int64_t> spare = {};
  // Nothing, as `spare`, at a tick that decided nothing.
  std::optional<double> stable_average = {};
  std::optional<double> panic_average = {};
};

class Kpa {
 public:
  using Seconds = std::chrono::seconds;

  // `options` passed check_options().
  explicit Kpa(const KpaOptions& options);

  // New options from now on; samples, panic and the count of before stay.
  void configure(const KpaOptions& options, Seconds now);

  // Takes over a service that runs, before the first decision: `desired` is its count of before,
  // and its initial scale it has had. Above 1 it panics at once: nothing is taken away before a
  // whole stable window was seen.
  void resume(Seconds now, int64_t desired);

  // The load of the service in [second, second + 1), of all replicas and the waiting room together.
  // False: ignored (not over yet, too old, no load).
  bool record(Seconds now, Seconds second, double load) { return window_.add(now, second, load); }

  // One tick. `ready`: replicas that take requests now; below 0 counts as 0.
  KpaDecision decide(Seconds now, int ready);

  const KpaOptions& options() const { return options_; }

 private:
  struct Wants {
    int64_t stable;
    int64_t panic;
    bool over;  // the panic threshold
  };
  struct Past {
    Seconds at;
    int64_t desired;
  };

  Wants wants(double stable, double panic, double base) const;
  void turn_panic(Seconds now, bool over);
  int64_t delayed(Seconds now, int64_t desired);
  int64_t bounded(int64_t desired) const;
  int64_t held_above_zero(Seconds now, int64_t desired, int ready);
  std::optional<int64_t> spare(double base, double panic) const;
  bool must_hold(int ready) const;

  KpaOptions options_;
  LoadWindow window_;
  int64_t desired_;               // of the tick before
  bool has_room_ = false;         // for a burst, when last decided
  bool initial_reached_ = false;  // has had initial_scale ready replicas
  std::optional<Seconds> panic_since_;
  int64_t most_in_panic_ = 0;
  std::deque<Past> past_;  // within the scale-down delay; the counts fall from front to back
  std::optional<Seconds> zero_since_;
};

}  // namespace sluice::control
