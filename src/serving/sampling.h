// completion::Sampling, the model's defaults and the protocol's → engine::SamplingParams.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "completion/request.h"
#include "engine/request.h"
#include "formats/model_source.h"
#include "text/tokenizer.h"

namespace sluice::serving {

struct SamplingContext {
  const formats::GenerationDefaults* defaults;
  const text::Tokenizer* tokenizer;
  int vocab = 0;  // rows of the output matrix
  int room = 0;   // tokens that fit behind the prompt
  int prompt_tokens = 0;
  int max_model_len = 0;
};

// Field by field: the request's value, else the model's default, else OpenAI's. `seed` is used when
// the request brings none. Refuses token ids outside the vocabulary and a max_tokens that does not
// fit.
Result<engine::SamplingParams> resolve_sampling(const completion::Sampling& sampling,
                                                const SamplingContext& context, uint64_t seed);

// The seed of choice `index` of a request: the request's own for 0, independent ones after it.
uint64_t choice_seed(uint64_t seed, int index);

}  // namespace sluice::serving
