#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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

// Fills candidates_ with what min_p and top_k leave, likeliest first if top_p is to follow, and
// returns their mass. Candidates that top_p is sure to drop may be left out, not their mass.
double Sampler::collect(const SamplingParams& sampling) {
  candidates_.clear();
  const auto least = static_cast<float>(sampling.min_p);
  if (sampling.top_k > 0 && size_t(sampling.top_k) < weights_.size()) {
    for (const int32_t token : top_indices(weights_, sampling.top_k)) {
      const float weight = weights_[size_t(token)];
      if (weight > 0.0f && weight >= least) candidates_.push_back({token, weight});
    }
    return candidate_mass();
  }
  if (least > 0.0f || sampling.top_p >= 1.0) {
    collect_at_least(least);
    if (sampling.top_p < 1.0) sort_candidates();
    return candidate_mass();
  }
  // The likeliest tokens that together reach top_p are nearly always a few: look at those above a
  // falling threshold instead of sorting the vocabulary.
  const double mass = sum(weights_);
  for (const float threshold : {1e-2f, 1e-4f, 0.0f}) {
    collect_at_least(threshold);
    // A hair more than top_p, because sums in another order round differently.
    if (candidate_mass() > mass * (sampling.top_p + 1e-9)) break;
  }
  sort_candidates();
  return mass;
}

void Sampler::collect_at_least(float weight) {
  candidates_.clear();
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i] > 0.0f && weights_[i] >= weight) {
      candidates_.push_back({static_cast<int32_t>(i), weights_[i]});
    }
  }
}

void Sampler::sort_candidates() {
  std::ranges::sort(candidates_, [](const Candidate& a, const Candidate& b) {
    return a.weight > b.weight || (a.weight == b.weight && a.token < b.token);
  });
}

// Keeps the fewest of the sorted candidates that reach the mass, at least one.
void Sampler::keep_top_p(double goal) {
  double reached = 0.0;
  size_t kept = 0;
  while (kept < candidates_.size() && (kept == 0 || reached < goal)) {
    reached += static_cast<double>(candidates_[kept++].weight);
  }
  candidates_.resize(kept);
}

void Sampler::keep_typical(double typical_p) {
  const double mass = candidate_mass();
  double entropy = 0.0;
  for (const Candidate& c : candidates_) {
    const double p = static_cast<double>(c.weight) / mass;
    entropy -= p * std::log(p);
  }
  const auto distance = [&](const Candidate& c) {
    return std::abs(-std::log(static_cast<double>(c.weight) / mass) - entropy);
  };
  std::vector<std::pair<double, size_t>> order;
  order.reserve(candidates_.size());
  for (size_t i = 0; i < candidates_.size(); ++i) order.emplace_back(distance(candidates_[i]), i);
  std::ranges::sort(order);
  std::vector<Candidate> kept;
  double reached = 0.0;
  for (const auto& [unused, i] : order) {
    if (!kept.empty() && reached >= mass * typical_p) break;
    kept.push_back(candidates_[i]);
    reached += static_cast<double>(candidates_[i].weight);
  }
  candidates_ = std::move(kept);
}

}  // namespace sluice::engine
