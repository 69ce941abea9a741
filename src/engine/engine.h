// Engine: one thread that turns requests into tokens. step = schedule → run → sample → publish.
//
// The engine thread owns scheduler, blocks and sequences; everything else reaches them through the
// bounded inbox. submit() and cancel() may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "engine/request.h"
#include "model/model.h"

namespace sluice::engine {

struct EngineOptions {
  int max_sequences = 256;
  int max_batched_tokens = 512;
  int max_context = 0;  // prompt + output tokens of a sequence
  int block_size = 16;
  int64_t kv_blocks = 0;
  bool prefix_caching = true;
  size_t max_queued_requests = 1024;
  size_t max_queued_tokens = 4u << 20;
  std::vector<int32_t> end_tokens;  // the model's own
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
  uint64_t prefix_queries = 0;  // prompt tokens looked up
  uint64_t prefix_hits = 0;     // of these found
  TimePoint last_step;
};

class Engine {
 public:
  virtual ~Engine() = default;  // cancels what runs and joins the thread

  // Accepted requests get at least one StepOutput with a finish reason. Refused with
  // resource_exhausted (queue full by requests or tokens), invalid_argument (empty prompt, ids out
  // of range, prompt + one token over the context, more blocks than the cache has) or unavailable
  // (draining).
  virtual Outcome submit(Request request) = 0;
  // Takes effect before the next step; no effect on an unknown id.
  virtual void cancel(RequestId id) = 0;
  // Refuses new requests from now on; running ones finish.
  virtual void drain() = 0;
  virtual bool idle() const = 0;
  virtual EngineStats stats() const = 0;
};

// `model` outlives the engine. The sink is called on the engine thread.
std::unique_ptr<Engine> start_engine(model::Model& model, const EngineOptions& options,
                                     OutputSink sink, const Clock& clock = system_clock());

}  // namespace sluice::engine
