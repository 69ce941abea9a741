// Engine: one thread that turns requests into tokens. step = schedule → run → sample → publish.
//
// The engine thread owns scheduler, blocks and sequences; everything else reaches them through the
// bounded inbox. submit() and cancel() may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/limits.h"
#include "base/prefix_hash.h"
#include "base/status.h"
#include "base/thread_team.h"
#include "engine/request.h"
#include "engine/runner.h"
#include "engine/speculation.h"
#include "model/model.h"

namespace sluice::engine {

// What one step did, for histograms.
struct StepInfo {
  uint64_t step = 0;  // 1, 2, …
  int sequences = 0;
  int prefill_rows = 0;  // of prompts, and of what preempted sequences compute again
  int decode_rows = 0;
  int draft_rows = 0;
  int preemptions = 0;
  Duration draft{};  // by the draft model
  Duration schedule{};
  Duration forward{};
  Duration sample{};
};

struct EngineOptions {
  // Running at a time; no more than max_batched_tokens run.
  int max_sequences = limits::kMaxSequences;
  int max_batched_tokens = limits::kMaxBatchedTokens;
  // Prompt + output tokens of a sequence; what the KV cache holds is a bound besides.
  int max_context = 0;
  int block_size = limits::kBlockSize;
  int64_t kv_blocks = 0;
  bool prefix_caching = true;
  size_t max_queued_requests = limits::kMaxQueuedRequests;
  size_t max_queued_tokens = limits::kMaxQueuedTokens;
  std::vector<int32_t> end_tokens{};  // the model's own
  // How much longer than without prompts a step may take beside running streams: step_budget.h.
  // Below 1 max_batched_tokens is the only bound.
  double max_step_stretch = 0.0;
  SpeculationOptions speculation{};
  // What drafts with DraftMethod::kModel; outlives the engine.
  DraftSource draft{};
  // Samples rows in parallel; outlives the engine. May be null.
  ThreadTeam* team = nullptr;
  // Called after each step on the engine thread; must not block. May be empty.
  std::function<void(const StepInfo&)> on_step{};
  // The same with what a step changed in the prefix cache, in that order, before the step's outputs
  // are told; not called when nothing changed.
  std::function<void(std::vector<PrefixChange>&&)> on_blocks{};
};

// A consistent snapshot, taken after each step; read from any thread.
struct EngineStats {
  int running = 0;
  int waiting = 0;
  int64_t waiting_tokens = 0;
  int64_t kv_blocks_total = 0;
  int64_t kv_blocks_used = 0;    // held by sequences
  int64_t kv_blocks_cached = 0;  // free but still holding a prefix
  uint64_t steps = 0;
  uint64_t preemptions = 0;
  uint64_t prompt_tokens = 0;
  uint64_t generated_tokens = 0;
  uint64_t prefix_queries = 0;   // prompt tokens looked up
  uint64_t prefix_hits = 0;      // of these found
  uint64_t drafts = 0;           // times that a sequence computed draft rows
  uint64_t draft_tokens = 0;     // these rows
  uint64_t accepted_drafts = 0;  // those that held the token that was chosen
  Duration draft_model_time{};   // that the draft model took
  TimePoint last_step;           // its end; an idle engine takes none
};

class Engine {
 public:
  virtual ~Engine() = default;  // cancels what runs and joins the thread

  // An accepted request gets StepOutputs, the last one (only) with a finish reason. Refused with
  // resource_exhausted (reason queue_full_requests or queue_full_tokens), invalid_argument
  // (reason context_length_exceeded: prompt + one token over the context or over what the KV cache
  // holds; else an empty prompt, ids out of range, parameters without meaning, an id that is live)
  // or unavailable (reason draining).
  virtual Outcome submit(Request request) = 0;
  // Takes effect before the next step; no effect on an unknown id.
  virtual void cancel(RequestId id) = 0;
  // Refuses new requests from now on; running ones finish.
  virtual void drain() = 0;
  virtual bool idle() const = 0;
  virtual EngineStats stats() const = 0;
};

// `model` outlives the engine. The sink is called on the engine thread. Block size, number of
// blocks and rows of a batch are the model's where the options leave them 0 or ask for more.
// `draft`, which may be null, becomes options.draft; it outlives the engine too.
std::unique_ptr<Engine> start_engine(model::Model& model, const EngineOptions& options,
                                     OutputSink sink, const Clock& clock = system_clock(),
                                     model::Model* draft = nullptr);

// The same over any runner, which outlives the engine; max_context and kv_blocks must be given.
std::unique_ptr<Engine> start_engine(Runner& runner, const EngineOptions& options, OutputSink sink,
                                     const Clock& clock = system_clock());

}  // namespace sluice::engine
