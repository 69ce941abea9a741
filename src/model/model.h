// Model: weights and forward pass of one loaded model.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_team.h"
#include "formats/model_source.h"
#include "kernels/isa.h"
#include "model/batch.h"

namespace sluice::model {

// Storage of K and V. int8 has one float scale per token and head.
enum class KvType { kF32, kF16, kInt8 };

struct ModelOptions {
  kernels::Isa isa = kernels::best_isa();
  KvType kv_type = KvType::kF16;
  int block_size = 16;    // positions of a KV block
  int64_t kv_blocks = 0;  // blocks of the cache; see kv_block_bytes()
  int max_batch_rows = 512;
};

// The forward pass and its KV cache. Not thread-safe: one engine thread owns it. Deterministic: a
// row's logits depend on its sequence's tokens only, never on the other rows, on chunking or on
// thread count.
class Model {
 public:
  virtual ~Model() = default;

  virtual const formats::ModelConfig& config() const = 0;
  virtual const ModelOptions& options() const = 0;

  // Runs the batch: appends K and V of all rows to their blocks, writes logits of batch.output_rows
  // to `logits` ([output_rows.size(), vocab], row-major).
  virtual void forward(const Batch& batch, std::span<float> logits) = 0;
};

// Bytes that one KV block takes over all layers.
int64_t kv_block_bytes(const formats::ModelConfig& config, KvType type, int block_size);

// `source` and `team` must outlive the model. Fails when a tensor is missing or has an unusable
// type.
Result<std::unique_ptr<Model>> load_model(const formats::ModelSource& source,
                                          const ModelOptions& options, ThreadTeam& team);

}  // namespace sluice::model
