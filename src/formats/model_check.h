// What a configuration must satisfy, and the tensors that it promises: the last check before a
// model is handed out, the same for every format.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "formats/architecture.h"
#include "formats/model_config.h"
#include "formats/model_parts.h"

namespace sluice::formats {

struct ExpectedTensor {
  std::string name;
  tensor::Shape shape;
  bool required = true;
};

// Heads, rope, window, context, experts, norms: relations between fields and finite values. Single
// fields were held to ranges.h when they were read.
Outcome check_config(const ModelConfig& config);

// All tensors of such a model. `tensors` decides where an architecture may store a matrix whole or
// in parts.
std::vector<ExpectedTensor> expected_tensors(const Architecture& architecture,
                                             const ModelConfig& config, const TensorMap& tensors);

// Refused: a missing tensor, one of another shape or an unusable type, and one that the
// architecture does not have, for it would be left out of the arithmetic silently.
Outcome check_tensors(const Architecture& architecture, const ModelConfig& config,
                      const TensorMap& tensors);

// Values of a small F32, F16 or BF16 tensor.
std::vector<float> read_vector(const tensor::TensorView& view);

}  // namespace sluice::formats
