// What a request asks to be done to its logits before sampling: masks, biases and penalties.
//
// In this order, which is vLLM's: allowed_tokens, bad_words, min_tokens (end and stop tokens are
// impossible before), logit_bias, repetition penalty (tokens of prompt and output), frequency and
// presence penalty (tokens of the output). A masked token has -inf. Pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "engine/sequence.h"

namespace sluice::engine {

// Whether `token` ends the sequence: a stop token of the request or, unless it ignores them, one of
// the model's end tokens.
bool ends_sequence(const Sequence& sequence, std::span<const int32_t> end_tokens, int32_t token);

// Whether apply_rules() would change anything for the sequence's next token.
bool has_rules(const Sequence& sequence, std::span<const int32_t> end_tokens);

// `row` becomes the logits with the rules applied. Both are as wide as the vocabulary, and lie
// apart.
void apply_rules(const Sequence& sequence, std::span<const int32_t> end_tokens,
                 std::span<const float> logits, std::span<float> row);

}  // namespace sluice::engine
