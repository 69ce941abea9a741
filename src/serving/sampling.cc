#include "serving/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "base/rng.h"

namespace sluice::serving {
namespace {

Outcome check_ids(std::span<const int32_t> ids, int vocab, std::string_view field) {
  for (const int32_t id : ids) {
    if (id >= vocab) {
      return invalid(
          fmt::format("'{}' holds token id {}; this model's ids end at {}", field, id, vocab - 1),
          std::string(field));
    }
  }
  return {};
}

// A bad word is banned both at the start of text and behind a space, as its spelling differs there.
std::vector<std::vector<int32_t>> encode_bad_words(const std::vector<std::string>& words,
                                                   const text::Tokenizer& tokenizer) {
  std::vector<std::vector<int32_t>> out;
  for (const std::string& word : words) {
    for (const std::string& spelled : {word, " " + word}) {
      auto ids = tokenizer.encode(spelled, text::SpecialTokens::kOmit, false);
      if (!ids.empty() && std::ranges::find(out, ids) == out.end()) out.push_back(std::move(ids));
    }
  }
  return out;
}

Result<int> resolve_max_tokens(const completion::Sampling& sampling,
                               const SamplingContext& context) {
  if (!sampling.max_tokens) return context.room;
  if (*sampling.max_tokens > context.room) {
    return invalid(
        fmt::format("the prompt has {} tokens and max_tokens asks for {} more; together at most {} "
                    "fit this model's context: shorten the prompt or ask for at most {}",
                    context.prompt_tokens, *sampling.max_tokens, context.max_model_len,
                    context.room),
        "max_tokens");
  }
  return *sampling.max_tokens;
}

}  // namespace

uint64_t choice_seed(uint64_t seed, int index) {
  if (index == 0) return seed;
  Rng rng(seed ^ (static_cast<uint64_t>(index) * 0xD6E8FEB86659FD93u));
  return rng.next();
}

Result<engine::SamplingParams> resolve_sampling(const completion::Sampling& sampling,
                                                const SamplingContext& context, uint64_t seed) {
  const formats::GenerationDefaults& defaults = *context.defaults;
  SLUICE_RETURN_IF_ERROR(check_ids(sampling.stop_tokens, context.vocab, "stop_token_ids"));
  SLUICE_RETURN_IF_ERROR(check_ids(sampling.allowed_tokens, context.vocab, "allowed_token_ids"));
  for (const auto& [id, bias] : sampling.logit_bias) {
    SLUICE_RETURN_IF_ERROR(check_ids({&id, 1}, context.vocab, "logit_bias"));
  }
  engine::SamplingParams out;
  out.temperature = sampling.temperature.value_or(defaults.temperature.value_or(1.0));
  out.top_k = sampling.top_k.value_or(defaults.top_k.value_or(0));
  out.top_p = sampling.top_p.value_or(defaults.top_p.value_or(1.0));
  out.min_p = sampling.min_p.value_or(defaults.min_p.value_or(0.0));
  out.typical_p = sampling.typical_p.value_or(1.0);
  out.repetition_penalty =
      sampling.repetition_penalty.value_or(defaults.repetition_penalty.value_or(1.0));
  out.presence_penalty = sampling.presence_penalty;
  out.frequency_penalty = sampling.frequency_penalty;
  out.logit_bias = sampling.logit_bias;
  out.bad_words = encode_bad_words(sampling.bad_words, *context.tokenizer);
  out.allowed_tokens = sampling.allowed_tokens;
  out.seed = sampling.seed.value_or(seed);
  SLUICE_ASSIGN_OR_RETURN(out.max_tokens, resolve_max_tokens(sampling, context));
  if (sampling.min_tokens > out.max_tokens) {
    return invalid(fmt::format("'min_tokens' ({}) must not be above max_tokens ({})",
                               sampling.min_tokens, out.max_tokens),
                   "min_tokens");
  }
  out.min_tokens = sampling.min_tokens;
  out.ignore_eos = sampling.ignore_eos;
  out.stop_tokens = sampling.stop_tokens;
  out.logprobs = sampling.logprobs;
  out.prompt_logprobs = sampling.prompt_logprobs;
  return out;
}

}  // namespace sluice::serving
