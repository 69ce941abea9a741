#include "engine/logit_rules.h"

#include <algorithm>
#include <limits>

namespace sluice::engine {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

void mask(std::span<float> row, int32_t token) {
  if (token >= 0 && size_t(token) < row.size()) row[size_t(token)] = kMasked;
}

void copy_allowed(std::span<const int32_t> allowed, std::span<const float> logits,
                  std::span<float> row) {
  std::ranges::fill(row, kMasked);
  for (const int32_t token : allowed) row[size_t(token)] = logits[size_t(token)];
}

// Masks the last token of each bad word whose other tokens the output ends with.
void mask_bad_words(const Sequence& sequence, std::span<float> row) {
  const auto output = sequence.output();
  for (const auto& word : sequence.sampling.bad_words) {
    const std::span<const int32_t> start = std::span(word).first(word.size() - 1);
    if (output.size() >= start.size() && std::ranges::equal(output.last(start.size()), start)) {
      mask(row, word.back());
    }
  }
}

void penalize(const Sequence& sequence, std::span<float> row) {
  const auto repetition = static_cast<float>(sequence.sampling.repetition_penalty);
  const auto frequency = static_cast<float>(sequence.sampling.frequency_penalty);
  const auto presence = static_cast<float>(sequence.sampling.presence_penalty);
  for (const TokenCount& count : sequence.counts) {
    float& x = row[size_t(count.token)];
    x = x > 0.0f ? x / repetition : x * repetition;
    if (count.in_output == 0) continue;
    x -= frequency * static_cast<float>(count.in_output);
    x -= presence;
  }
}

bool suppresses_end(const Sequence& sequence) {
  return sequence.output_size() < sequence.sampling.min_tokens;
}

}  // namespace

bool ends_sequence(const Sequence& sequence, std::span<const int32_t> end_tokens, int32_t token) {
  if (std::ranges::find(sequence.sampling.stop_tokens, token) !=
      sequence.sampling.stop_tokens.end()) {
    return true;
  }
  return !sequence.sampling.ignore_eos && std::ranges::find(end_tokens, token) != end_tokens.end();
}

bool has_rules(const Sequence& sequence, std::span<const int32_t> end_tokens) {
  const SamplingParams& sampling = sequence.sampling;
  const bool ends = !sampling.stop_tokens.empty() || (!sampling.ignore_eos && !end_tokens.empty());
  return !sampling.allowed_tokens.empty() || !sampling.bad_words.empty() ||
         !sampling.logit_bias.empty() || !sequence.counts.empty() ||
         (ends && suppresses_end(sequence));
}

void apply_rules(const Sequence& sequence, std::span<const int32_t> end_tokens,
                 std::span<const float> logits, std::span<float> row) {
  const SamplingParams& sampling = sequence.sampling;
  if (sampling.allowed_tokens.empty()) {
    std::ranges::copy(logits, row.begin());
  } else {
    copy_allowed(sampling.allowed_tokens, logits, row);
  }
  mask_bad_words(sequence, row);
  if (suppresses_end(sequence)) {
    for (const int32_t token : sampling.stop_tokens) mask(row, token);
    if (!sampling.ignore_eos) {
      for (const int32_t token : end_tokens) mask(row, token);
    }
  }
  for (const auto& [token, bias] : sampling.logit_bias) row[size_t(token)] += bias;
  penalize(sequence, row);
}

}  // namespace sluice::engine
