// What a served model is started with. The CLI fills it from flags, environment and file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "engine/speculation.h"
#include "kernels/isa.h"
#include "model/model.h"

namespace sluice::telemetry {
class Tracer;
}

namespace sluice::serving {

struct ModelPath {
  std::filesystem::path path;
  std::vector<std::string> names;  // what clients may call it; the first is shown
};

struct ModelSettings {
  kernels::Isa isa = kernels::best_isa();
  std::optional<model::KvType> kv_type;  // none: model::default_kv_type()
  int max_model_len = 0;  // 0 = the model's own context, at most what the KV memory holds
  int max_num_seqs = limits::kMaxSequences;
  int max_num_batched_tokens = limits::kMaxBatchedTokens;
  double max_step_stretch = limits::kMaxStepStretch;  // engine/step_budget.h
  engine::SpeculationOptions speculation{};           // off
  std::filesystem::path draft_model;                  // with DraftMethod::kModel
  int block_size = limits::kBlockSize;
  int64_t kv_cache_bytes = 0;  // 0 = chosen from the context length and the memory at hand
  int64_t promised_bytes = 0;  // of that memory, to models loaded before
  bool prefix_caching = true;
  size_t max_queued_requests = limits::kMaxQueuedRequests;
  size_t max_queued_tokens = limits::kMaxQueuedTokens;
  uint64_t seed = 0;  // of requests that bring none, when `seeded`
  bool seeded = false;
  std::optional<std::string> chat_template;   // in place of the model's own
  const telemetry::Tracer* tracer = nullptr;  // of requests; null: nothing is traced
  // Folder for repacked weights (model/weights_cache.h), or kBesideModel; empty = off.
  std::filesystem::path weights_cache_dir;
};

inline constexpr std::string_view kBesideModel = "beside";

// "f32", "f16", "bf16", "int8": as --kv-cache-dtype takes it.
std::string_view kv_type_name(model::KvType type);

}  // namespace sluice::serving
