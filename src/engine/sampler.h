// Sampler: from a row of logits to the next token and its logprobs.
//
// Order, as vLLM's: logprobs are taken from the raw logits; then the rules of logit_rules.h; then,
// at temperature 0, the greatest logit, or else temperature, min_p, top_k, top_p, typical_p, each
// over what the ones before it left, renormalized; then one draw.
//   min_p      keeps tokens with at least min_p times the likeliest one's probability
//   top_k      keeps the k likeliest
//   top_p      keeps the fewest likeliest whose probabilities reach top_p
//   typical_p  keeps the fewest whose surprise is nearest to the expected one, until they reach
//              typical_p (Meister et al., "Locally typical sampling", 2022)
// The draw for the n-th output token is philox_uniform(seed, n), inverted over the cumulative
// probabilities: a token depends on (logits, parameters, seed, n) only. Ties go to the lower id.
//
// A row's arithmetic has a fixed order and never depends on other rows. One owner, engine thread.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/request.h"
#include "engine/sequence.h"

namespace sluice::engine {

// Temperatures below are taken for greedy, those up to kLeastTemperature for that.
inline constexpr double kGreedyBelow = 1e-5;
inline constexpr double kLeastTemperature = 0.01;

// `end_tokens` are the model's own; they outlive the sampler.
class Sampler {
 public:
  explicit Sampler(std::span<const int32_t> end_tokens) : end_tokens_(end_tokens) {}

  // The next token of the sequence, with logprobs where asked for. Fails with kInternal when a
  // logit is not finite and with kInvalidArgument when the rules leave no token.
  Result<TokenOutput> sample(const Sequence& sequence, std::span<const float> logits);

  // The logprob of a token that is given, and of the `top` likeliest. Fails with kInternal when a
  // logit is not finite.
  static Result<TokenOutput> score(int32_t token, int top, std::span<const float> logits);

 private:
  struct Candidate {
    int32_t token = 0;
    float weight = 0.0f;  // proportional to the probability; the likeliest token has 1
    uint32_t key = 0;     // less is kept first, see keep_mass()
  };

  Result<int32_t> choose(const Sequence& sequence, std::span<const float> logits);
  int32_t draw_from_all(double uniform) const;
  int32_t draw_from_candidates(double uniform) const;
  double collect(const SamplingParams& sampling);
  void collect_at_least(float least);
  void keep_top_p(double goal);
  void keep_typical(double typical_p);
  void keep_mass(double goal);
  double candidate_mass() const;

  std::span<const int32_t> end_tokens_;
  std::vector<float> weights_;         // scratch, one per token
  std::vector<Candidate> candidates_;  // scratch
  std::vector<double> masses_;         // scratch
};

}  // namespace sluice::engine
