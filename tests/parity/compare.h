// How far distributions are from golden ones, and how far they may be.
#pragma once

#include <span>

#include "golden.h"

namespace sluice::parity {

struct Errors {
  double logprob_max = 0;  // largest |difference of log-probabilities| of a kept token
  double logprob_rms = 0;
  double kl_mean = 0;  // KL(golden, ours) over the kept likeliest tokens, mean of all positions
  double kl_full_mean = 0;  // over the vocabulary, mean of the positions kept whole
  int positions = 0;
  int decided = 0;     // positions whose two likeliest tokens are further apart than the bound
  int top1_wrong = 0;  // of those: positions at which we choose another token
};

// What one engine may be away from the other.
struct Bound {
  double logprob_max = 0;
  double logprob_rms = 0;
  double kl_mean = 0;  // for either kind
};

// `exact` and `perturbed` are our logits of the model and of its perturbed twin, [positions,
// vocab]: their distance is what rounding like the other engine's does to this model. README.md
// derives the factors.
Bound bound_from(const Golden& golden, std::span<const float> exact,
                 std::span<const float> perturbed);

// `logits` are ours: [positions, vocab].
Errors compare(const Golden& golden, std::span<const float> logits, const Bound& bound);

}  // namespace sluice::parity
