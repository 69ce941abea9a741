// Sequence: one accepted request and how far it has come. Plain data, owned by the scheduler,
// touched on the engine thread only.
//
// A sequence knows `tokens` and has K and V of the first `computed` of them in the cache. A step
// computes some of the rest; when nothing is left, the last row's logits give the next token.
// Prefill, decode and recomputation after a preemption are all this one rule.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/prefix_hash.h"
#include "engine/request.h"

namespace sluice::engine {

// How often a token of the sequence stands in its output; 0 for one that is in the prompt only.
struct TokenCount {
  int32_t token = 0;
  int32_t in_output = 0;
};

struct Share;

enum class SequenceState { kWaiting, kRunning };

struct Sequence {
  RequestId id = 0;
  SamplingParams sampling;
  int priority = 0;
  std::string tenant;
  std::optional<TimePoint> deadline;

  std::vector<int32_t> tokens;  // prompt, then output
  int prompt_size = 0;
  int resumed_size = 0;            // output that was there from the start
  int max_size = 0;                // of `tokens`: by max_tokens and by the context
  std::vector<TokenCount> counts;  // by token, ascending; empty unless a penalty is on
  int prompt_logprobs_done = 0;    // prompt positions whose logprobs were published, from 1 on
  int cached_tokens = 0;           // prompt tokens from the prefix cache at first admission
  TimePoint queued;
  TimePoint scheduled;  // the latest admission
  TimePoint first_token;

  // The scheduler's part.
  SequenceState state = SequenceState::kWaiting;
  uint64_t arrival = 0;  // order of acceptance, unique
  Share* share = nullptr;
  bool admitted_before = false;
  int planned_rows = 0;      // in the step being planned
  uint64_t passed_over = 0;  // the step in which it was found not to be schedulable now
  int computed = 0;
  std::vector<int32_t> blocks;  // of positions 0 …, ceil(computed / block size) between steps

  // Speculation (speculation.h).
  std::vector<int32_t> draft;  // what may come behind `tokens`
  int draft_rows = 0;          // of these computed in the step being planned
  double draft_trust = 0.5;    // how often a draft's next token was right lately

  // The prefix chain of the full blocks of `tokens`, as far as it was needed.
  PrefixHash salt;
  std::vector<PrefixHash> hashes;
  int published = 0;                     // blocks whose hash the pool has been told
  std::optional<PrefixHash> held_until;  // waits for a running sequence to compute this block

  int size() const { return static_cast<int>(tokens.size()); }
  int remaining() const { return size() - computed; }
  int output_size() const { return size() - prompt_size; }
  std::span<const int32_t> prompt() const { return {tokens.data(), size_t(prompt_size)}; }
  std::span<const int32_t> output() const {
    return std::span<const int32_t>(tokens).subspan(size_t(prompt_size));
  }
  // One row is left: its logits give the next token.
  bool streams() const { return remaining() == 1 && !owes_prompt_logprobs(); }
  // Logprobs of some prompt positions are still to be computed: all their rows must run.
  bool owes_prompt_logprobs() const {
    return sampling.prompt_logprobs >= 0 && prompt_logprobs_done < prompt_size - 1;
  }
};

// Takes a validated request apart. `max_context` bounds prompt and output together.
Sequence make_sequence(Request request, int max_context, TimePoint queued);

// Appends a sampled token and counts it.
void append_token(Sequence& sequence, int32_t token);

}  // namespace sluice::engine
