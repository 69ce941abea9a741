// Model: weights and forward pass of one loaded model.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/limits.h"
#include "base/status.h"
#include "base/thread_team.h"
#include "formats/model_source.h"
#include "kernels/isa.h"
#include "model/batch.h"

namespace sluice::model {

class WeightsCache;  // weights_cache.h

// Storage of K and V. int8 has one float scale per token and head.
enum class KvType { kF32, kF16, kBf16, kInt8 };

struct ModelOptions {
  kernels::Isa isa = kernels::best_isa();
  KvType kv_type = KvType::kF16;
  int block_size = limits::kBlockSize;  // positions of a KV block
  int64_t kv_blocks = 0;                // blocks of the cache; see kv_block_bytes()
  int max_batch_rows = limits::kMaxBatchedTokens;
  // The longest sequence that will be run; 0 = the model's own context. It changes numbers for
  // longrope models, whose long factors are used when it exceeds their original context.
  int max_context = 0;
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
  // to `logits` ([output_rows.size(), vocab], row-major). A batch of more than max_batch_rows, a
  // token outside the vocabulary or a block outside the cache is a bug of the caller and aborts.
  virtual void forward(const Batch& batch, std::span<float> logits) = 0;
};

// Bytes that one KV block takes over all layers.
int64_t kv_block_bytes(const formats::ModelConfig& config, KvType type, int block_size);

// What K and V are stored as where nobody chose: BF16 where attention multiplies it faster and the
// model's products round their rows anyway (docs/decisions/0013-bf16-attention.md), else F16.
KvType default_kv_type(const formats::ModelSource& source, kernels::Isa isa);

// Memory that the weights take once the model is loaded, give or take a few percent: what is
// repacked, and the stored bytes that are used as they are. An embedding table of its own does not
// count, as single rows of it are read from the file.
int64_t weight_memory_bytes(const formats::ModelSource& source, kernels::Isa isa);

// Weights of the model, all tensors counted (not its rope factors).
int64_t parameter_count(const formats::ModelSource& source);

// Canonical names of the architectures that load_model() knows, ascending.
std::span<const std::string_view> architectures();

// `source` and `team` must outlive the model. Fails with the whole list of tensors that are
// missing, that have a shape or type which the architecture does not give them, or that it has no
// use for (a variant of the architecture that would be run wrongly). With a cache, weights that it
// holds are not repacked, and it outlives the model.
Result<std::unique_ptr<Model>> load_model(const formats::ModelSource& source,
                                          const ModelOptions& options, ThreadTeam& team,
                                          WeightsCache* cache = nullptr);

}  // namespace sluice::model
