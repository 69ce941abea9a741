#include "serving/kv_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace sluice::serving {
namespace {

// Of what is left beside the weights; the rest is for buffers, connections and the page cache. The
// cache's pages are taken from the system only when sequences use them.
constexpr double kKvMemoryShare = 0.5;

Result<int64_t> kv_budget(const ModelSettings& settings, const MemoryAtHand& memory) {
  if (settings.kv_cache_bytes > 0) return settings.kv_cache_bytes;
  const int64_t left = memory.available - memory.weights - memory.promised;
  if (left > 0) return static_cast<int64_t>(kKvMemoryShare * static_cast<double>(left));
  return fail(
      Code::kResourceExhausted,
      fmt::format("{} MiB of memory are available; the weights take {} MiB and the KV caches "
                  "of other models {} MiB, which leaves none for this one's: free memory, "
                  "or say with --kv-cache-memory-bytes what it may take",
                  memory.available >> 20, memory.weights >> 20, memory.promised >> 20),
      "kv-cache-memory-bytes");
}

}  // namespace

Result<KvPlan> plan_kv(const formats::ModelConfig& config, const ModelSettings& settings,
                       const MemoryAtHand& memory, int64_t block_bytes) {
  if (settings.max_model_len > config.context) {
    return invalid(fmt::format("--max-model-len {} is above the model's context of {}",
                               settings.max_model_len, config.context),
                   "max-model-len");
  }
  const int wanted = settings.max_model_len > 0 ? settings.max_model_len : config.context;
  SLUICE_ASSIGN_OR_RETURN(const int64_t budget, kv_budget(settings, memory));
  const int64_t sequence_blocks = (wanted + settings.block_size - 1) / settings.block_size;
  const int64_t most = sequence_blocks * settings.max_num_seqs;
  KvPlan plan;
  plan.blocks = std::min(most, budget / block_bytes);
  plan.bytes = plan.blocks * block_bytes;
  const int64_t tokens = plan.blocks * settings.block_size;
  if (settings.max_model_len > 0 && tokens < settings.max_model_len) {
    return invalid(
        fmt::format("a sequence of --max-model-len {} needs {} MiB of KV cache; {} MiB "
                    "are available: lower --max-model-len or raise "
                    "--kv-cache-memory-bytes",
                    settings.max_model_len, (sequence_blocks * block_bytes) >> 20, budget >> 20),
        "max-model-len");
  }
  plan.max_model_len = static_cast<int>(std::min<int64_t>(wanted, tokens));
  if (plan.max_model_len < settings.block_size) {
    return invalid(fmt::format("{} MiB of KV cache hold no block of {} KiB: raise "
                               "--kv-cache-memory-bytes",
                               budget >> 20, block_bytes >> 10),
                   "kv-cache-memory-bytes");
  }
  if (plan.max_model_len < wanted) {
    log_warn("{}: the KV cache holds {} tokens, less than the model's context of {}", config.name,
             plan.max_model_len, config.context);
  }
  return plan;
}

}  // namespace sluice::serving
