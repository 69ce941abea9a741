#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "base/rng.h"
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
constexpr uint32_t kGreatestKey = 0x7FFFFFFF;

// Weights below are not looked at where those above reach top_p.
constexpr float kSmallWeight = 1e-4f;
// More tokens than these are handled as well in place.
constexpr size_t kFewTokens = 8192;
// Up to here a heap finds the greatest logits in one look at the row.
constexpr size_t kSmallTopK = 1024;

}  // namespace

Result<TokenOutput> Sampler::sample(const Sequence& sequence, std::span<const float> logits) {
  const Peak peak = find_peak(logits);
  if (!peak.finite) return std::unexpected(not_finite());
  SLUICE_ASSIGN_OR_RETURN(const int32_t token, choose(sequence, logits, peak));
  if (sequence.sampling.logprobs < 0) return TokenOutput{.token = token};
  return score_finite(token, sequence.sampling.logprobs, logits, peak);
}

Result<TokenOutput> Sampler::score(int32_t token, int top, std::span<const float> logits) {
  const Peak peak = find_peak(logits);
  if (!peak.finite) return std::unexpected(not_finite());
  return score_finite(token, top, logits, peak);
}

TokenOutput Sampler::score_finite(int32_t token, int top, std::span<const float> logits,
                                  const Peak& peak) {
  const double total = log_sum_exp(logits, peak.value);
  const auto entry = [&](int32_t id, int rank) {
    const double logprob = static_cast<double>(logits[size_t(id)]) - total;
    return TokenLogprob{id, static_cast<float>(logprob), rank};
  };
  TokenOutput output{.token = token};
  output.logprob = entry(token, token == peak.index ? 1 : rank_of(logits, token));
  int rank = 0;
  top_indices(logits, top, likeliest_);
  output.top.reserve(likeliest_.size());
  for (const int32_t id : likeliest_) output.top.push_back(entry(id, ++rank));
  return output;
}

Result<int32_t> Sampler::choose(const Sequence& sequence, std::span<const float> logits,
                                const Peak& raw_peak) {
  const SamplingParams& sampling = sequence.sampling;
  Peak peak = raw_peak;
  if (has_rules(sequence, end_tokens_)) {
    rules_.resize(logits.size());
    apply_rules(sequence, end_tokens_, logits, rules_);
    logits = rules_;
    peak = find_peak(logits);
    if (!std::isfinite(peak.value)) {
      return fail(Code::kInvalidArgument,
                  "allowed tokens, bad words, min_tokens and logit_bias together leave no token "
                  "to choose; allow more",
                  {}, "no_token_allowed");
    }
  }
  if (sampling.temperature < kGreedyBelow) return peak.index;

  const auto scale = static_cast<float>(1.0 / std::max(sampling.temperature, kLeastTemperature));
  if (sampling.top_k > 0 && size_t(sampling.top_k) <= kSmallTopK) {
    gather_top(logits, sampling.top_k, peak, scale);
  } else {
    gathered_ = false;
    all_.resize(logits.size());
    exponentiate(logits, peak.value, scale, all_);
  }
  truncate(sampling, logits, peak, scale);
  return draw(philox_uniform(sampling.seed, static_cast<uint64_t>(sequence.output_size())));
}

void Sampler::truncate(const SamplingParams& sampling, std::span<const float> logits,
                       const Peak& peak, float scale) {
  if (sampling.min_p > 0.0) {
    const auto least = static_cast<float>(sampling.min_p);
    if (gathered_ || !gather(least, kFewTokens)) {
      for (float& w : weights()) w = w >= least ? w : 0.0f;
    }
  }
  if (sampling.top_k > 0 && size_t(sampling.top_k) < weights().size()) keep_top_k(sampling.top_k);
  if (sampling.top_p < 1.0) {
    const double mass = sum(weights());
    // Most often a few hundred tokens are enough. A hair more than top_p, because sums in another
    // order round differently.
    if (!gathered_ && gather(kSmallWeight, kFewTokens)) {
      gathered_ = sum(few_) > mass * (sampling.top_p + 1e-9);
    }
    keep_top_p(sampling.top_p, mass);
  }
  if (sampling.typical_p < 1.0) keep_typical(sampling.typical_p, logits, peak, scale);
}

// Goes on with the tokens of at least this weight; false, and no change, when they are not few.
bool Sampler::gather(float least, size_t most) {
  constexpr size_t kStretch = 64;
  few_.clear();
  tokens_.clear();
  const std::span<const float> all(all_);
  for (size_t start = 0; start < all.size(); start += kStretch) {
    const auto stretch = all.subspan(start, std::min(kStretch, all.size() - start));
    if (greatest(stretch) < least) continue;
    if (few_.size() + kStretch > most) return false;
    for (size_t i = 0; i < stretch.size(); ++i) {
      if (stretch[i] < least || stretch[i] <= 0.0f) continue;
      few_.push_back(stretch[i]);
      tokens_.push_back(static_cast<int32_t>(start + i));
    }
  }
  gathered_ = true;
  return true;
}

// Weights of the likeliest tokens only. What min_p drops is at the end of the order by
// probability, so that it makes no difference whether it comes before.
void Sampler::gather_top(std::span<const float> logits, int top_k, const Peak& peak, float scale) {
  top_indices(logits, top_k, tokens_);
  std::ranges::sort(tokens_);
  few_.clear();
  for (const int32_t token : tokens_) few_.push_back(logits[size_t(token)]);
  exponentiate(few_, peak.value, scale, few_);
  gathered_ = true;
}

void Sampler::keep_top_k(int top_k) {
  const std::span<float> row = weights();
  keys_.resize(row.size());
  for (size_t i = 0; i < row.size(); ++i) keys_[i] = kGreatestKey - ordered_bits(row[i]);
  filter_.keep(row, keys_, Mass::kOne, top_k);
}

void Sampler::keep_top_p(double top_p, double mass) {
  const std::span<float> row = weights();
  keys_.resize(row.size());
  for (size_t i = 0; i < row.size(); ++i) keys_[i] = kGreatestKey - ordered_bits(row[i]);
  filter_.keep(row, keys_, Mass::kWeight, mass * top_p);
}

void Sampler::keep_typical(double typical_p, std::span<const float> logits, const Peak& peak,
                           float scale) {
  const std::span<float> row = weights();
  const double mass = sum(row);
  const double log_mass = std::log(mass);
  // The logarithm of a weight is what it is the exponential of.
  const auto log_weight = [&](size_t i) {
    return static_cast<double>((logits[size_t(token_at(i))] - peak.value) * scale);
  };
  double weighted = 0.0;
  for (size_t i = 0; i < row.size(); ++i) {
    if (row[i] > 0.0f) weighted += static_cast<double>(row[i]) * log_weight(i);
  }
  const double entropy = log_mass - weighted / mass;
  keys_.resize(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    const auto distance = static_cast<float>(std::abs(log_mass - log_weight(i) - entropy));
    keys_[i] = row[i] > 0.0f ? ordered_bits(distance) : kGreatestKey;
  }
  filter_.keep(row, keys_, Mass::kWeight, mass * typical_p);
}

// Inverts the cumulative weights, in the order of ids.
int32_t Sampler::draw(double uniform) {
  // By stretches first, so that most of the row is summed by a vectorized loop.
  constexpr size_t kStretch = 1024;
  const std::span<const float> row = weights();
  sums_.clear();
  for (size_t start = 0; start < row.size(); start += kStretch) {
    sums_.push_back(sum(row.subspan(start, std::min(kStretch, row.size() - start))));
  }
  double left = uniform * std::accumulate(sums_.begin(), sums_.end(), 0.0);
  size_t stretch = 0;
  while (stretch + 1 < sums_.size() && left >= sums_[stretch]) left -= sums_[stretch++];
  // Rounding must not lead to a token that was dropped, nor past the last one.
  int32_t last = -1;
  for (size_t i = stretch * kStretch; i < row.size(); ++i) {
    if (row[i] <= 0.0f) continue;
    last = token_at(i);
    if (left < static_cast<double>(row[i])) return last;
    left -= static_cast<double>(row[i]);
  }
  for (size_t i = row.size(); last < 0 && i-- > 0;) {
    if (row[i] > 0.0f) last = token_at(i);
  }
  return last;
}

}  // namespace sluice::engine
