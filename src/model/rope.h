// Rotary position embedding (Su et al., arXiv:2104.09864): the angles of each position, under the
// ways of stretching a model's context that are in use.
//
//   linear    positions divided by `factor`
//   llama3    low frequencies divided by `factor`, high ones kept, a ramp between (Llama 3.1)
//   YaRN      the same by number of turns within the original context; cos and sin are scaled by
//             0.1 ln(factor) + 1 (Peng et al., arXiv:2309.00071, eq. 22)
//   longrope  a divisor per frequency; cos and sin are scaled by sqrt(1 + ln(s) / ln(original)),
//             s = context / original context (Ding et al., arXiv:2402.13753, as in Phi-3)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "formats/model_config.h"

namespace sluice::model {

// Angle of frequency i at position p: p * frequencies[i]. Immutable; shared by threads.
class Rope {
 public:
  // `context` is the model's own, `max_context` the longest sequence that will be run.
  Rope(const formats::RopeConfig& config, int context, int max_context);

  int half() const { return static_cast<int>(frequencies_.size()); }  // dim / 2
  std::span<const double> frequencies() const { return frequencies_; }
  double magnitude() const { return magnitude_; }

  // cos and sin of one position, times magnitude(): half() values each. Angles are doubles, so
  // that they are exact to a float at any position.
  void angles(int64_t position, float* cos, float* sin) const;

 private:
  std::vector<double> frequencies_;
  double magnitude_ = 1.0;
};

}  // namespace sluice::model
