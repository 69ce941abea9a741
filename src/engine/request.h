// What the engine is asked to do and what it answers. Token ids only; text lives outside.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace sluice::engine {

using RequestId = uint64_t;

struct SamplingParams {
  double temperature = 1.0;  // 0 = greedy
  int top_k = 0;             // 0 = off
  double top_p = 1.0;
  double min_p = 0.0;
  double typical_p = 1.0;
  double repetition_penalty = 1.0;  // over prompt and output, as vLLM has it
  double presence_penalty = 0.0;    // over the output
  double frequency_penalty = 0.0;
  std::vector<std::pair<int32_t, float>> logit_bias{};
  std::vector<std::vector<int32_t>> bad_words{};  // token sequences that must not appear
  std::vector<int32_t> allowed_tokens{};          // empty = all
  uint64_t seed = 0;
  int max_tokens = 16;
  int min_tokens = 0;
  bool ignore_eos = false;
  std::vector<int32_t> stop_tokens{};  // besides the model's own end tokens
  int logprobs = -1;                   // -1 = none; 0 = the chosen token's; k = and the k likeliest
  int prompt_logprobs = -1;            // the same for the prompt's tokens
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0.0f;
  int rank = 0;  // 1 = likeliest
};

struct TokenOutput {
  int32_t token = 0;
  std::optional<TokenLogprob> logprob{};
  std::vector<TokenLogprob> top{};
};

enum class FinishReason { kNone, kStop, kLength, kCancelled, kDeadline, kError };

// What one request got in one step. prompt_logprobs entries are per prompt position from 1 on.
struct StepOutput {
  RequestId id = 0;
  std::vector<TokenOutput> tokens{};
  std::vector<TokenOutput> prompt_logprobs{};
  FinishReason finish = FinishReason::kNone;
  std::optional<int32_t> stop_token{};  // the token that ended it, not part of `tokens`
  int cached_tokens = 0;                // prompt tokens that came from the prefix cache
  TimePoint queued{}, scheduled{}, first_token{}, at{};  // scheduled: most recently
  std::string error{};  // with kError: what went wrong, and whose fault it was
  Code error_code = Code::kInternal;
};

struct Request {
  RequestId id = 0;
  std::vector<int32_t> prompt{};  // not empty, all ids below the vocabulary
  // The last so many of `prompt` are output that was sampled elsewhere: they count as output in
  // every rule, and the next token is sampled at the position behind them.
  int resumed_tokens = 0;
  SamplingParams sampling;
  int priority = 0;      // lower runs first
  std::string tenant{};  // fair share is between tenants of one priority
  std::string cache_salt{};
  std::optional<TimePoint> deadline{};
};

// Receives all outputs of a step at once, on the engine thread: must only hand them on, never
// block.
using OutputSink = std::function<void(std::vector<StepOutput>&&)>;

}  // namespace sluice::engine
