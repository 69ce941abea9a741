#include "engine/sequence.h"

#include <algorithm>

namespace sluice::engine {
namespace {

bool has_penalties(const SamplingParams& sampling) {
  return sampling.repetition_penalty != 1.0 || sampling.presence_penalty != 0.0 ||
         sampling.frequency_penalty != 0.0;
}

std::vector<TokenCount> distinct_tokens(std::vector<int32_t> tokens) {
  std::ranges::sort(tokens);
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  std::vector<TokenCount> counts;
  counts.reserve(tokens.size());
  for (const int32_t token : tokens) counts.push_back({token, 0});
  return counts;
}

void count_token(Sequence& sequence, int32_t token) {
  auto at = std::ranges::lower_bound(sequence.counts, token, {}, &TokenCount::token);
  if (at == sequence.counts.end() || at->token != token) {
    at = sequence.counts.insert(at, {token, 0});
  }
  ++at->in_output;
}

}  // namespace

Sequence make_sequence(Request request, int max_context, TimePoint queued) {
  Sequence sequence;
  sequence.id = request.id;
  sequence.salt = prompt_salt(request.tenant, request.cache_salt);
  sequence.sampling = std::move(request.sampling);
  sequence.priority = request.priority;
  sequence.tenant = std::move(request.tenant);
  sequence.deadline = request.deadline;
  sequence.tokens = std::move(request.prompt);
  sequence.resumed_size = request.resumed_tokens;
  sequence.prompt_size = sequence.size() - sequence.resumed_size;
  const int room = max_context - sequence.prompt_size;
  sequence.max_size = sequence.prompt_size + std::min(sequence.sampling.max_tokens, room);
  if (has_penalties(sequence.sampling)) {
    const auto prompt = sequence.prompt();
    sequence.counts = distinct_tokens({prompt.begin(), prompt.end()});
    for (const int32_t token : sequence.output()) count_token(sequence, token);
  }
  sequence.queued = queued;
  return sequence;
}

void append_token(Sequence& sequence, int32_t token) {
  sequence.tokens.push_back(token);
  if (has_penalties(sequence.sampling)) count_token(sequence, token);
}

}  // namespace sluice::engine
