#include "engine/request_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>

namespace sluice::engine {
namespace {

Outcome check_ids(std::span<const int32_t> ids, int vocab, std::string_view param) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab) {
      return invalid(
          fmt::format("{}: token id {} is outside the vocabulary (0 … {})", param, id, vocab - 1),
          std::string(param));
    }
  }
  return {};
}

Outcome check_range(double value, double low, double high, std::string_view param) {
  if (value >= low && value <= high) return {};  // false for NaN
  return invalid(fmt::format("{} must be from {} to {}; found {}", param, low, high, value),
                 std::string(param));
}

Outcome check_probabilities(const SamplingParams& s) {
  constexpr double kLarge = 1e6;
  constexpr double kSmall = std::numeric_limits<float>::min();
  SLUICE_RETURN_IF_ERROR(check_range(s.temperature, 0.0, kLarge, "temperature"));
  SLUICE_RETURN_IF_ERROR(check_range(s.top_p, 0.0, 1.0, "top_p"));
  SLUICE_RETURN_IF_ERROR(check_range(s.min_p, 0.0, 1.0, "min_p"));
  SLUICE_RETURN_IF_ERROR(check_range(s.typical_p, 0.0, 1.0, "typical_p"));
  SLUICE_RETURN_IF_ERROR(check_range(s.repetition_penalty, kSmall, kLarge, "repetition_penalty"));
  SLUICE_RETURN_IF_ERROR(check_range(s.presence_penalty, -kLarge, kLarge, "presence_penalty"));
  return check_range(s.frequency_penalty, -kLarge, kLarge, "frequency_penalty");
}

Outcome check_tokens(const SamplingParams& s, int vocab) {
  for (const auto& [token, bias] : s.logit_bias) {
    SLUICE_RETURN_IF_ERROR(check_ids(std::span(&token, 1), vocab, "logit_bias"));
    if (!std::isfinite(bias)) return invalid("logit_bias: a bias must be finite", "logit_bias");
  }
  for (const auto& word : s.bad_words) {
    if (word.empty()) return invalid("bad_words: a word has no tokens", "bad_words");
    SLUICE_RETURN_IF_ERROR(check_ids(word, vocab, "bad_words"));
  }
  SLUICE_RETURN_IF_ERROR(check_ids(s.stop_tokens, vocab, "stop_tokens"));
  return check_ids(s.allowed_tokens, vocab, "allowed_tokens");
}

Outcome check_counts(const SamplingParams& s) {
  constexpr double kMost = std::numeric_limits<int>::max();
  SLUICE_RETURN_IF_ERROR(check_range(s.max_tokens, 0, kMost, "max_tokens"));
  SLUICE_RETURN_IF_ERROR(check_range(s.min_tokens, 0, s.max_tokens, "min_tokens"));
  SLUICE_RETURN_IF_ERROR(check_range(s.top_k, 0, kMost, "top_k"));
  SLUICE_RETURN_IF_ERROR(check_range(s.logprobs, -1, kMost, "logprobs"));
  return check_range(s.prompt_logprobs, -1, kMost, "prompt_logprobs");
}

Outcome check_resumed(const Request& request) {
  const auto most =
      std::min<size_t>(request.prompt.size() - 1, size_t(request.sampling.max_tokens));
  if (request.resumed_tokens >= 0 && size_t(request.resumed_tokens) <= most) return {};
  return invalid(
      fmt::format("resumed_tokens must be from 0 to {}; found {}", most, request.resumed_tokens),
      "resumed_tokens");
}

Outcome check_prompt(const Request& request, const RequestBounds& bounds) {
  if (request.prompt.empty()) return invalid("the prompt has no tokens; send at least one");
  const size_t size = request.prompt.size();
  if (size >= size_t(bounds.max_context)) {
    return fail(Code::kInvalidArgument,
                fmt::format("the prompt has {} tokens, but prompt and output together may have {} "
                            "(at least one of output); shorten the prompt",
                            size, bounds.max_context),
                "prompt", "context_length_exceeded");
  }
  if (size >= size_t(bounds.kv_tokens)) {
    return fail(Code::kInvalidArgument,
                fmt::format("the prompt has {} tokens, but the KV cache holds {}; shorten the "
                            "prompt or start the server with a larger cache",
                            size, bounds.kv_tokens),
                "prompt", "context_length_exceeded");
  }
  return check_ids(request.prompt, bounds.vocab, "prompt");
}

}  // namespace

Outcome check_request(const Request& request, const RequestBounds& bounds) {
  SLUICE_RETURN_IF_ERROR(check_prompt(request, bounds));
  SLUICE_RETURN_IF_ERROR(check_probabilities(request.sampling));
  SLUICE_RETURN_IF_ERROR(check_counts(request.sampling));
  SLUICE_RETURN_IF_ERROR(check_resumed(request));
  return check_tokens(request.sampling, bounds.vocab);
}

}  // namespace sluice::engine
