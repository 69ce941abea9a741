#include "control/kpa.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace sluice::control {
namespace {

using std::chrono::seconds;

// Far above what anybody runs, and so low that no product below leaves 64 bits.
constexpr double kMaxLoad = 1e9;
constexpr double kMaxRate = 1e6;
constexpr int kMaxScale = 1'000'000;
constexpr seconds kMinStableWindow{6};
constexpr seconds kMaxTime{3600};

Status refusal(std::string_view name, std::string_view expected, double found) {
  return {Code::kInvalidArgument, fmt::format("{}: expected {}, found {}", name, expected, found),
          std::string(name)};
}

// Bounds in their order (a NaN is in none).
bool in(double low, double value, double high) { return value >= low && value <= high; }
bool above(double low, double value, double high) { return value > low && value <= high; }

Result<void> check_times(const KpaOptions& options) {
  const auto time = [](seconds s) { return static_cast<double>(s.count()); };
  const double longest = time(kMaxTime);
  const double stable = time(options.stable_window);
  if (!in(time(kMinStableWindow), stable, longest)) {
    return std::unexpected(refusal("stable_window", "6 to 3600 seconds", stable));
  }
  if (!in(1, time(options.panic_window), stable)) {
    return std::unexpected(refusal("panic_window", "1 second to the stable window's length",
                                   time(options.panic_window)));
  }
  if (!in(1, time(options.tick), longest)) {
    return std::unexpected(refusal("tick", "1 to 3600 seconds", time(options.tick)));
  }
  if (!in(0, time(options.scale_to_zero_grace), longest)) {
    return std::unexpected(
        refusal("scale_to_zero_grace", "0 to 3600 seconds", time(options.scale_to_zero_grace)));
  }
  if (!in(0, time(options.scale_down_delay), longest)) {
    return std::unexpected(
        refusal("scale_down_delay", "0 to 3600 seconds", time(options.scale_down_delay)));
  }
  return {};
}

Result<void> check_scales(const KpaOptions& options) {
  if (!in(0, options.min_scale, kMaxScale)) {
    return std::unexpected(refusal("min_scale", "0 to 1000000", options.min_scale));
  }
  if (options.max_scale != 0 && !in(options.min_scale, options.max_scale, kMaxScale)) {
    return std::unexpected(
        refusal("max_scale", "0 (none), or min_scale to 1000000", options.max_scale));
  }
  const int most = options.max_scale == 0 ? kMaxScale : options.max_scale;
  if (!in(0, options.initial_scale, most)) {
    return std::unexpected(refusal("initial_scale", "0 to max_scale", options.initial_scale));
  }
  return {};
}

}  // namespace

seconds panic_window_of(seconds stable_window, int percent) {
  return std::max(seconds(1), stable_window * percent / 100);
}

Result<KpaOptions> check_options(const KpaOptions& options) {
  if (!in(1e-6, options.target, kMaxLoad)) {
    return std::unexpected(refusal("target", "0.000001 to 1e9", options.target));
  }
  SLUICE_RETURN_IF_ERROR(check_times(options));
  if (!above(1, options.panic_threshold, kMaxRate)) {
    return std::unexpected(
        refusal("panic_threshold", "more than 1, at most 1e6", options.panic_threshold));
  }
  if (!above(1, options.max_scale_up_rate, kMaxRate)) {
    return std::unexpected(
        refusal("max_scale_up_rate", "more than 1, at most 1e6", options.max_scale_up_rate));
  }
  if (!above(1, options.max_scale_down_rate, kMaxRate)) {
    return std::unexpected(
        refusal("max_scale_down_rate", "more than 1, at most 1e6", options.max_scale_down_rate));
  }
  SLUICE_RETURN_IF_ERROR(check_scales(options));
  if (!above(0, options.capacity, kMaxLoad)) {
    return std::unexpected(refusal("capacity", "more than 0, at most 1e9", options.capacity));
  }
  if (options.burst_target != -1 && !in(0, options.burst_target, kMaxLoad)) {
    return std::unexpected(refusal("burst_target", "-1, or 0 to 1e9", options.burst_target));
  }
  return options;
}

Kpa::Kpa(const KpaOptions& options)
    : options_(options),
      window_(options.stable_window),
      desired_(std::max(options.initial_scale, options.min_scale)) {}

void Kpa::configure(const KpaOptions& options, Seconds now) {
  options_ = options;
  window_.resize(options.stable_window, now);
  if (options_.scale_down_delay.count() == 0) past_.clear();
}

void Kpa::resume(Seconds now, int64_t desired) {
  desired_ = desired;
  initial_reached_ = true;
  if (desired <= 1) return;
  panic_since_ = now;
  most_in_panic_ = desired;
}

// Steps 2 to 5.
Kpa::Wants Kpa::wants(double stable, double panic, double base) const {
  const double up = std::ceil(options_.max_scale_up_rate * base);
  const double down = std::floor(base / options_.max_scale_down_rate);
  const double want_stable = std::ceil(stable / options_.target);
  const double want_panic = std::ceil(panic / options_.target);
  const auto within_rates = [&](double want) {
    return static_cast<int64_t>(std::max(down, std::min(up, want)));
  };
  return {.stable = within_rates(want_stable),
          .panic = within_rates(want_panic),
          .over = want_panic / base >= options_.panic_threshold};
}

// Step 6.
void Kpa::turn_panic(Seconds now, bool over) {
  if (over) {
    if (!panic_since_) most_in_panic_ = 0;
    panic_since_ = now;
  } else if (panic_since_ && now - *panic_since_ >= options_.stable_window) {
    panic_since_.reset();
  }
}

// Step 8. A count that is not above a later one is never again the largest.
int64_t Kpa::delayed(Seconds now, int64_t desired) {
  if (options_.scale_down_delay.count() == 0) return desired;
  while (!past_.empty() && past_.back().desired <= desired) past_.pop_back();
  past_.push_back({now, desired});
  while (now - past_.front().at >= options_.scale_down_delay) past_.pop_front();
  return past_.front().desired;
}

// Steps 9 and 10.
int64_t Kpa::bounded(int64_t desired) const {
  desired = std::max<int64_t>(desired, options_.min_scale);
  if (options_.max_scale > 0) desired = std::min<int64_t>(desired, options_.max_scale);
  if (initial_reached_) return desired;
  return std::max<int64_t>(desired, std::max(options_.initial_scale, options_.min_scale));
}

// Step 11.
int64_t Kpa::held_above_zero(Seconds now, int64_t desired, int ready) {
  if (desired > 0) {
    zero_since_.reset();
    return desired;
  }
  if (!zero_since_) zero_since_ = now;
  const bool at_zero = ready <= 0 && desired_ == 0;
  return at_zero || now - *zero_since_ >= options_.scale_to_zero_grace ? 0 : 1;
}

std::optional<int64_t> Kpa::spare(double base, double panic) const {
  if (options_.burst_target <= 0) return std::nullopt;
  return static_cast<int64_t>(std::floor(base * options_.capacity - options_.burst_target - panic));
}

bool Kpa::must_hold(int ready) const {
  if (options_.burst_target < 0) return true;
  if (options_.burst_target == 0) return ready <= 0;
  return !has_room_;
}

KpaDecision Kpa::decide(Seconds now, int ready) {
  if (ready >= options_.initial_scale) initial_reached_ = true;
  const std::optional<double> stable = window_.average(now, options_.stable_window);
  const std::optional<double> panic = window_.average(now, options_.panic_window);
  if (!stable || !panic) {
    return {.desired = desired_, .panicking = panic_since_.has_value(), .hold = must_hold(ready)};
  }

  const double base = std::max(1, ready);
  const Wants want = wants(*stable, *panic, base);
  turn_panic(now, want.over);
  int64_t desired = want.stable;
  if (panic_since_) {
    most_in_panic_ = std::max({most_in_panic_, want.stable, want.panic});
    desired = most_in_panic_;
  }
  desired_ = held_above_zero(now, bounded(delayed(now, desired)), ready);
  const std::optional<int64_t> room = spare(base, *panic);
  has_room_ = room && *room >= 0;
  return {.desired = desired_,
          .panicking = panic_since_.has_value(),
          .hold = must_hold(ready),
          .spare = room,
          .stable_average = stable,
          .panic_average = panic};
}

}  // namespace sluice::control
