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
// A row's arithmetic has a fixed order and never depends on other rows. A sampler is used by one
// thread at a time: each member of the compute team has its own (core.h). It keeps its memory from
// token to token; only the logprobs that were asked for are allocated.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/logit_ops.h"
#include "engine/mass_filter.h"
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
  Result<TokenOutput> score(int32_t token, int top, std::span<const float> logits);

 private:
  Result<int32_t> choose(const Sequence& sequence, std::span<const float> logits,
                         const Peak& raw_peak);
  TokenOutput score_finite(int32_t token, int top, std::span<const float> logits, const Peak& peak);

  void truncate(const SamplingParams& sampling, std::span<const float> logits, const Peak& peak,
                float scale);
  bool gather(float least, size_t most);
  void gather_top(std::span<const float> logits, int top_k, const Peak& peak, float scale);
  void keep_top_k(int top_k);
  void keep_top_p(double top_p, double mass);
  void keep_typical(double typical_p, std::span<const float> logits, const Peak& peak, float scale);
  int32_t draw(double uniform);
  int32_t token_at(size_t index) const {
    return gathered_ ? tokens_[index] : static_cast<int32_t>(index);
  }
  std::span<float> weights() { return gathered_ ? few_ : all_; }
  std::span<const float> weights() const { return gathered_ ? few_ : all_; }

  std::span<const int32_t> end_tokens_;
  // Scratch. A weight is proportional to its token's probability, the likeliest token's is 1, one
  // that was dropped has 0. They stand for all tokens, or gathered for a few, by ascending id.
  std::vector<float> rules_;  // the logits after the rules
  std::vector<float> all_;
  std::vector<float> few_;
  std::vector<int32_t> tokens_;  // of few_
  bool gathered_ = false;
  std::vector<uint32_t> keys_;
  std::vector<int32_t> likeliest_;
  std::vector<double> sums_;  // of the stretches that a draw goes through
  MassFilter filter_;
};

}  // namespace sluice::engine
