// KvPlan: how large a model's KV cache is made, and what context it is then served with.
//
// Pure; any thread.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "formats/model_config.h"
#include "serving/options.h"

namespace sluice::serving {

// Bytes of memory as a model is loaded.
struct MemoryAtHand {
  int64_t available = 0;
  int64_t weights = 0;   // what the model's own weights will take of it
  int64_t promised = 0;  // to other models' caches, which take it only as sequences come
};

struct KvPlan {
  int64_t blocks = 0;
  int64_t bytes = 0;      // with the draft model's
  int max_model_len = 0;  // the longest sequence that the blocks hold
};

// --kv-cache-memory-bytes decides. Without it the cache may grow to half of the memory that the
// weights and other models leave, and to no more than the allowed number of whole contexts takes.
// A block takes `block_bytes`, with that of a draft model's cache which it stands for.
// Fails with what is too large for what, and the flag that changes it.
Result<KvPlan> plan_kv(const formats::ModelConfig& config, const ModelSettings& settings,
                       const MemoryAtHand& memory, int64_t block_bytes);

}  // namespace sluice::serving
