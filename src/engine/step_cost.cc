#include "engine/step_cost.h"

#include <algorithm>
#include <cmath>

namespace sluice::engine {
namespace {

constexpr int kGreatestSize = 1 << 16;
// An observation's weight is 1 / (those before + 1), and never less than this: the model follows a
// machine whose other load comes and goes.
constexpr double kLeastRate = 0.15;
// A step that took this many times as long as expected says as much as one that took exactly that
// long: the machine did something else meanwhile.
constexpr double kOutlier = 1.5;
// Observations behind which a size is known well.
constexpr int kWellKnown = 5;
// The mean context at which an error is blamed on attention and on the rest alike.
constexpr double kEvenContext = 8192.0;
// Per row beyond the largest size seen, as a share of that size's time per row.
constexpr double kExtrapolation = 0.5;

}  // namespace

StepCost::StepCost() {
  for (int rows = 1; rows <= kGreatestSize; rows *= 2) {
    sizes_.push_back({.rows = rows});
    if (rows > 1) sizes_.push_back({.rows = rows + rows / 2});
  }
}

size_t StepCost::at_or_below(int rows) const {
  const auto above = std::ranges::upper_bound(sizes_, rows, {}, &Size::rows);
  return above == sizes_.begin() ? 0 : size_t(above - sizes_.begin()) - 1;
}

void StepCost::learn(const StepShape& step, Duration time) {
  const double seconds = to_seconds(time);
  if (step.rows <= 0 || !(seconds > 0.0)) return;
  const size_t low = at_or_below(step.rows);
  const size_t high = std::min(low + 1, sizes_.size() - 1);
  const int gap = sizes_[high].rows - sizes_[low].rows;
  const double above =
      gap == 0 ? 0.0 : std::min(1.0, double(step.rows - sizes_[low].rows) / double(gap));
  const double attention = per_position_ * double(step.context);
  const double mean_context = double(step.context) / step.rows / kEvenContext;
  for (const auto& [index, weight] : {std::pair(low, 1.0 - above), std::pair(high, above)}) {
    if (weight < 0.25) continue;
    Size& size = sizes_[index];
    if (size.seen == 0) {
      // The nearer of the two stands for itself; the other one keeps waiting for its own.
      if (weight < 0.5) continue;
      size.seconds = std::max(seconds - attention, seconds * 0.1);
      size.seen = 1;
      const int i = static_cast<int>(index);
      first_seen_ = first_seen_ < 0 ? i : std::min(first_seen_, i);
      lower_those_below(index);
      continue;
    }
    // From what was predicted by it, which a smaller one may have raised.
    size.seconds = base(size.rows);
    const double rate = std::max(kLeastRate, 1.0 / (size.seen + 1)) * weight;
    const double expected = base(step.rows) + attention;
    double error = seconds - expected;
    if (size.seen >= kWellKnown) error = std::min(error, expected * (kOutlier - 1.0));
    const double blame = mean_context * mean_context / (1.0 + mean_context * mean_context);
    size.seconds = std::max(size.seconds + rate * (1.0 - blame) * error, seconds * 0.01);
    if (step.context > 0) {
      per_position_ = std::max(0.0, per_position_ + rate * blame * error / double(step.context));
    }
    ++size.seen;
    lower_those_below(index);
  }
}

// No smaller step takes longer: a size that was seen once, while the machine did something else or
// the weights were not in memory yet, would else stand for all above it.
void StepCost::lower_those_below(size_t index) {
  const Size& size = sizes_[index];
  for (size_t i = 0; i < index; ++i) {
    if (std::min(sizes_[i].seen, kWellKnown) > size.seen) continue;
    sizes_[i].seconds = std::min(sizes_[i].seconds, size.seconds);
  }
}

bool StepCost::known_at(int rows) const {
  return std::ranges::any_of(sizes_, [rows](const Size& size) {
    return size.seen > 0 && size.rows <= 2 * rows && rows <= 2 * size.rows;
  });
}

double StepCost::base(int rows) const {
  // Measured times jitter; what is predicted must not fall as rows grow.
  const Size* below = nullptr;
  double floor = 0.0;
  for (size_t i = size_t(first_seen_); i < sizes_.size(); ++i) {
    const Size& size = sizes_[i];
    if (size.seen == 0) continue;
    const double seconds = std::max(size.seconds, floor);
    if (size.rows == rows) return seconds;
    if (size.rows > rows) {
      if (below == nullptr) return seconds * rows / size.rows;
      const double share = double(rows - below->rows) / double(size.rows - below->rows);
      return floor + (seconds - floor) * share;
    }
    below = &size;
    floor = seconds;
  }
  return floor * (1.0 + kExtrapolation * double(rows - below->rows) / below->rows);
}

double StepCost::predict(const StepShape& step) const {
  if (!known()) return 0.0;
  return base(std::max(step.rows, 1)) + per_position_ * double(step.context);
}

}  // namespace sluice::engine
