#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <tuple>

#include "base/rng.h"
#include "engine/logit_ops.h"
#include "engine/logit_rules.h"

namespace sluice::engine {
namespace {

Status not_finite() {
  return {Code::kInternal,
          "the model's logits are not finite numbers for this input: the weights or the KV cache "
          "type may not suit it; try --kv-cache-dtype f32 and check the model file",
          {},
          "logits_not_finite"};
}

// Bits that order as the values do, which are not negative.
uint32_t ordered_bits(float x) { return std::bit_cast<uint32_t>(x); }

}  // namespace

Result<TokenOutput> Sampler::sample(const Sequence& sequence, std::span<const float> logits) {
  if (!all_finite(logits)) return std::unexpected(not_finite());
  SLUICE_ASSIGN_OR_RETURN(const int32_t token, choose(sequence, logits));
  if (sequence.sampling.logprobs < 0) return TokenOutput{.token = token};
  return score(token, sequence.sampling.logprobs, logits);
}

Result<TokenOutput> Sampler::score(int32_t token, int top, std::span<const float> logits) {
  if (!all_finite(logits)) return std::unexpected(not_finite());
  const double total = log_sum_exp(logits);
  const auto entry = [&](int32_t id, int rank) {
    const double logprob = static_cast<double>(logits[size_t(id)]) - total;
    return TokenLogprob{id, static_cast<float>(logprob), rank};
  };
  TokenOutput output{.token = token};
  output.logprob = entry(token, rank_of(logits, token));
  int rank = 0;
  for (const int32_t id : top_indices(logits, top)) output.top.push_back(entry(id, ++rank));
  return output;
}

Result<int32_t> Sampler::choose(const Sequence& sequence, std::span<const float> logits) {
  const SamplingParams& sampling = sequence.sampling;
  const bool greedy = sampling.temperature < kGreedyBelow;
  const bool rules = has_rules(sequence, end_tokens_);
  if (greedy && !rules) return argmax(logits);

  weights_.assign(logits.begin(), logits.end());
  if (rules) apply_rules(sequence, end_tokens_, weights_);
  const float top = greatest(weights_);
  if (!std::isfinite(top)) {
    return fail(Code::kInvalidArgument,
                "allowed tokens, bad words, min_tokens and logit_bias together leave no token to "
                "choose; allow more",
                {}, "no_token_allowed");
  }
  if (greedy) return argmax(weights_);

  const double temperature = std::max(sampling.temperature, kLeastTemperature);
  exponentiate(weights_, top, static_cast<float>(1.0 / temperature));
  const auto index = static_cast<uint64_t>(sequence.output_size());
  const double uniform = philox_uniform(sampling.seed, index);
  const bool truncated = sampling.top_k > 0 || sampling.top_p < 1.0 || sampling.min_p > 0.0 ||
                         sampling.typical_p < 1.0;
  if (!truncated) return draw_from_all(uniform);
  const double mass = collect(sampling);
  if (sampling.top_p < 1.0) keep_top_p(mass * sampling.top_p);
  if (sampling.typical_p < 1.0) keep_typical(sampling.typical_p);
  return draw_from_candidates(uniform);
}

int32_t Sampler::draw_from_all(double uniform) const {
  // By stretches first, so that most of the row is summed by a vectorized loop.
  constexpr size_t kStretch = 1024;
  const std::span<const float> all(weights_);
  std::vector<double> sums;
  for (size_t start = 0; start < all.size(); start += kStretch) {
    sums.push_back(sum(all.subspan(start, std::min(kStretch, all.size() - start))));
  }
  double left = uniform * std::accumulate(sums.begin(), sums.end(), 0.0);
  size_t stretch = 0;
  while (stretch + 1 < sums.size() && left >= sums[stretch]) left -= sums[stretch++];
  int32_t last = -1;  // the last possible token so far: rounding must not lead past it
  for (size_t i = stretch * kStretch; i < all.size(); ++i) {
    if (all[i] <= 0.0f) continue;
    last = static_cast<int32_t>(i);
    if (left < static_cast<double>(all[i])) return last;
    left -= static_cast<double>(all[i]);
  }
  if (last >= 0) return last;
  for (size_t i = all.size(); i-- > 0;) {
    if (all[i] > 0.0f) return static_cast<int32_t>(i);
  }
  return argmax(all);
}

int32_t Sampler::draw_from_candidates(double uniform) const {
  double left = uniform * candidate_mass();
  for (const Candidate& candidate : candidates_) {
    if (left < static_cast<double>(candidate.weight)) return candidate.token;
    left -= static_cast<double>(candidate.weight);
  }
  return candidates_.back().token;
}

double Sampler::candidate_mass() const {
  double mass = 0.0;
  for (const Candidate& candidate : candidates_) mass += static_cast<double>(candidate.weight);
  return mass;
}

// Fills candidates_ with what min_p and top_k leave and returns their mass. Candidates that top_p
// is sure to drop may be left out; their mass is not.
double Sampler::collect(const SamplingParams& sampling) {
  if (sampling.top_k > 0 && size_t(sampling.top_k) < weights_.size()) {
    candidates_.clear();
    for (const int32_t token : top_indices(weights_, sampling.top_k)) {
      const float weight = weights_[size_t(token)];
      if (weight > 0.0f && weight >= static_cast<float>(sampling.min_p)) {
        candidates_.push_back({token, weight, 0});
      }
    }
    return candidate_mass();
  }
  if (sampling.min_p == 0.0 && sampling.top_p < 1.0) {
    // Most often a few hundred tokens are enough.
    const double mass = sum(weights_);
    collect_at_least(1e-4f);
    // A hair more than top_p, because sums in another order round differently.
    if (candidate_mass() > mass * (sampling.top_p + 1e-9)) return mass;
  }
  collect_at_least(static_cast<float>(sampling.min_p));
  return candidate_mass();
}

void Sampler::collect_at_least(float least) {
  candidates_.clear();
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i] > 0.0f && weights_[i] >= least) {
      candidates_.push_back({static_cast<int32_t>(i), weights_[i], 0});
    }
  }
}

void Sampler::keep_top_p(double goal) {
  for (Candidate& c : candidates_) c.key = ~ordered_bits(c.weight);
  keep_mass(goal);
}

void Sampler::keep_typical(double typical_p) {
  const double mass = candidate_mass();
  const double log_mass = std::log(mass);
  // The key holds the surprise first, then its distance from the expected one.
  double entropy = 0.0;
  for (Candidate& c : candidates_) {
    const auto weight = static_cast<double>(c.weight);
    const auto surprise = static_cast<float>(log_mass - std::log(weight));
    c.key = std::bit_cast<uint32_t>(surprise);
    entropy += weight / mass * static_cast<double>(surprise);
  }
  for (Candidate& c : candidates_) {
    const auto surprise = static_cast<double>(std::bit_cast<float>(c.key));
    c.key = ordered_bits(static_cast<float>(std::abs(surprise - entropy)));
  }
  keep_mass(mass * typical_p);
}

// Keeps the fewest candidates, at least one, by key and then by token, whose weights reach `goal`.
// One pass finds the stretch of keys in which that happens; only there the order matters, so the
// vocabulary is never sorted.
void Sampler::keep_mass(double goal) {
  constexpr int kShift = 19;
  masses_.assign(size_t{1} << (32 - kShift), 0.0);
  for (const Candidate& c : candidates_) masses_[c.key >> kShift] += static_cast<double>(c.weight);
  double reached = 0.0;
  size_t stretch = 0;
  while (stretch + 1 < masses_.size() &&
         (masses_[stretch] == 0.0 || reached + masses_[stretch] < goal)) {
    reached += masses_[stretch++];
  }
  std::vector<Candidate> undecided;
  std::erase_if(candidates_, [&](const Candidate& c) {
    if (c.key >> kShift == stretch) undecided.push_back(c);
    return c.key >> kShift >= stretch;
  });
  std::ranges::sort(undecided, [](const Candidate& a, const Candidate& b) {
    return std::tuple(a.key, a.token) < std::tuple(b.key, b.token);
  });
  for (const Candidate& c : undecided) {
    if (!candidates_.empty() && reached >= goal) break;
    candidates_.push_back(c);
    reached += static_cast<double>(c.weight);
  }
}

}  // namespace sluice::engine
