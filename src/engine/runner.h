// Runner: what the engine needs of a model. The scheduler simulation runs without a model behind
// this seam; start_engine() wraps a model::Model in one.
#pragma once

#include <span>

#include "model/batch.h"

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

}  // namespace sluice::engine
