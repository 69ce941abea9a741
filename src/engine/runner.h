// Runner: what the engine needs of a model; ModelRunner puts a model::Model behind it. The
// scheduler simulation runs without a model.
#pragma once

#include <cstdint>
#include <span>

#include "model/batch.h"
#include "model/model.h"

namespace sluice::engine {

// Owned by whoever starts the engine, called by the engine thread only. A row's logits must depend
// on the tokens of its sequence only: the determinism promise rests on it.
class Runner {
 public:
  virtual ~Runner() = default;

  virtual int vocab() const = 0;

  // Appends K and V of the batch's rows to their blocks and writes the logits of
  // batch.output_rows, [output_rows.size(), vocab()] row-major.
  virtual void forward(const model::Batch& batch, std::span<float> logits) = 0;
};

// The model outlives its runner.
class ModelRunner final : public Runner {
 public:
  explicit ModelRunner(model::Model& model) : model_(model) {}

  int vocab() const override { return model_.config().vocab; }
  void forward(const model::Batch& batch, std::span<float> logits) override {
    model_.forward(batch, logits);
  }

 private:
  model::Model& model_;
};

// A draft model as the engine sees it.
struct DraftSource {
  Runner* runner = nullptr;  // null: there is none
  int block_size = 1;
  int64_t kv_blocks = 0;
  int max_rows = 0;     // of a batch
  int max_context = 0;  // positions of a sequence
};

}  // namespace sluice::engine
