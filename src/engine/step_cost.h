// StepCost: how long a step takes, learned from the steps that ran.
//
// time(rows, context) = base(rows) + per_position * context. base() is kept at a few sizes, about
// two an octave, and read by interpolation: it is flat while a step waits for the weights to come
// from memory and steep once it computes, and where it bends no formula knows. Each observation
// moves the two sizes beside it, and the cost of a position in proportion to how long the contexts
// are; smaller sizes that were thought to take longer are lowered to it. Plain arithmetic on what
// it is told: equal observations give an equal model. One owner, one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace sluice::engine {

// What a step's time depends on.
struct StepShape {
  int rows = 0;         // of the batch
  int64_t context = 0;  // positions attended to, summed over the rows

  StepShape plus(int more_rows, int64_t context_of_each) const {
    return {rows + more_rows, context + more_rows * context_of_each};
  }
};

class StepCost {
 public:
  StepCost();

  // Steps without rows or without time are not learned from.
  void learn(const StepShape& step, Duration time);

  // Whether anything was learned; before that predict() is 0.
  bool known() const { return first_seen_ >= 0; }

  // Whether a step of about that many rows was among them: of half as many to twice as many.
  bool known_at(int rows) const;

  // Seconds. Does not fall as rows or context grow.
  double predict(const StepShape& step) const;

 private:
  struct Size {
    int rows = 0;
    int seen = 0;          // observations, as far as they count
    double seconds = 0.0;  // without attention
  };

  void lower_those_below(size_t index);
  double base(int rows) const;
  size_t at_or_below(int rows) const;

  std::vector<Size> sizes_;  // ascending
  int first_seen_ = -1;      // index of the least size that was observed
  double per_position_ = 0.0;
};

}  // namespace sluice::engine
