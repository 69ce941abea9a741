// Which type each tensor of a model is stored in when the model is quantized.
//
// One-dimensional tensors (norms, biases) and a mixture's router stay as they are: small, and much
// depends on them. The matrix that yields the logits gets six bits where the others get four or
// six, and with Q4_K the value and down projections do so in every third layer and in the first and
// last eighth, as files that other tools call Q4_K_M. A width that a format's blocks do not divide
// gets the next format that fits, with a note.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tensor/dtype.h"

namespace sluice::cli {

struct QuantizeTarget {
  std::string_view name;
  tensor::DType dtype;
  uint32_t file_type;  // general.file_type, as other programs read it
};

// "Q4_K", in any case; "Q4_K_M" is another name of it.
Result<QuantizeTarget> parse_quantize_target(std::string_view text);

struct QuantizeInput {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
};

struct QuantizeChoice {
  tensor::DType dtype = tensor::DType::kF32;
  bool fallback = false;  // the width did not divide into the wanted type's blocks
};

// One choice for each tensor. `layers` is the model's number of layers.
std::vector<QuantizeChoice> plan_quantization(const QuantizeTarget& target,
                                              std::span<const QuantizeInput> tensors, int layers);

}  // namespace sluice::cli
