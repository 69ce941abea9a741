// Shared by this room's tests: the sequential oracle and comparison of outputs.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/fake_runner.h"
#include "engine/logit_rules.h"
#include "engine/request.h"
#include "engine/sampler.h"
#include "engine/sequence.h"

namespace sluice::engine {

// All that one request got, over all steps.
struct Transcript {
  std::vector<TokenOutput> tokens;
  std::vector<TokenOutput> prompt_logprobs;
  FinishReason finish = FinishReason::kNone;
  std::optional<int32_t> stop_token;
  std::string error;

  void add(const StepOutput& output) {
    ASSERT_EQ(finish, FinishReason::kNone) << "output after the last one of " << output.id;
    tokens.insert(tokens.end(), output.tokens.begin(), output.tokens.end());
    prompt_logprobs.insert(prompt_logprobs.end(), output.prompt_logprobs.begin(),
                           output.prompt_logprobs.end());
    finish = output.finish;
    stop_token = output.stop_token;
    error = output.error;
  }
};

inline bool same_bits(const TokenLogprob& a, const TokenLogprob& b) {
  return a.token == b.token && a.rank == b.rank &&
         std::bit_cast<uint32_t>(a.logprob) == std::bit_cast<uint32_t>(b.logprob);
}

inline bool same_bits(const TokenOutput& a, const TokenOutput& b) {
  if (a.token != b.token || a.logprob.has_value() != b.logprob.has_value()) return false;
  if (a.logprob && !same_bits(*a.logprob, *b.logprob)) return false;
  if (a.top.size() != b.top.size()) return false;
  for (size_t i = 0; i < a.top.size(); ++i) {
    if (!same_bits(a.top[i], b.top[i])) return false;
  }
  return true;
}

// `a` is a start of `b`, or all of it.
inline bool starts(const std::vector<TokenOutput>& a, const std::vector<TokenOutput>& b) {
  if (a.size() > b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i], b[i])) return false;
  }
  return true;
}

inline bool equal(const std::vector<TokenOutput>& a, const std::vector<TokenOutput>& b) {
  return a.size() == b.size() && starts(a, b);
}

// The request run by itself, without cache, batch or engine: what the engine must answer.
inline Transcript oracle(const FakeModel& model, const std::vector<int32_t>& end_tokens,
                         const Request& request, int max_context) {
  Transcript result;
  Sequence s = make_sequence(request, max_context, {});
  Sampler sampler(end_tokens);
  std::vector<float> row(size_t(model.vocab));
  uint64_t chain = 0;
  const auto fails = [&](const Status& status) {
    result.finish = FinishReason::kError;
    result.error = status.message();
    return result;
  };
  for (int i = 0;; ++i) {
    chain = model.extend_chain(chain, s.tokens[size_t(i)]);
    model.logits(chain, row);
    if (i + 1 < s.prompt_size) {
      if (s.sampling.prompt_logprobs < 0) continue;
      auto scored = sampler.score(s.tokens[size_t(i) + 1], s.sampling.prompt_logprobs, row);
      if (!scored) return fails(scored.error());
      result.prompt_logprobs.push_back(*scored);
      continue;
    }
    result.finish = FinishReason::kLength;
    if (s.size() >= s.max_size) return result;
    auto token = sampler.sample(s, row);
    if (!token) return fails(token.error());
    if (ends_sequence(s, end_tokens, token->token)) {
      result.finish = FinishReason::kStop;
      result.stop_token = token->token;
      return result;
    }
    append_token(s, token->token);
    result.tokens.push_back(*token);
  }
}

}  // namespace sluice::engine
