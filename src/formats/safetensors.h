// The safetensors container: names, types, shapes and places of one file's tensors.
// Spec: huggingface/safetensors README: u64 length | JSON header | data.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tensor/view.h"

namespace sluice::formats {

struct SafeTensor {
  std::string name;
  tensor::TensorView view;  // into the parsed bytes
};

struct SafetensorsFile {
  std::vector<SafeTensor> tensors;  // in order of offset; names are unique
  std::vector<std::pair<std::string, std::string>> metadata;
};

// Refused beside what is malformed: duplicate names, gaps, overlaps, data that no tensor covers,
// types other than F32, F16 and BF16, and tensors that do not lie at a multiple of their element's
// size.
Result<SafetensorsFile> parse_safetensors(std::span<const std::byte> file);

}  // namespace sluice::formats
