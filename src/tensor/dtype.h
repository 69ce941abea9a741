// Element and block types of stored tensors. Ids are those of GGUF (spec: ggml-org/ggml
// docs/gguf.md).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluice::tensor {

enum class DType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
};

struct DTypeInfo {
  DType dtype;
  std::string_view name;   // as GGUF tools spell it: "Q4_K"
  int64_t block_elements;  // elements that share one block; a row's length is a multiple of it
  int64_t block_bytes;
};

const DTypeInfo& dtype_info(DType dtype);

// The type with a GGUF id; an unknown id is refused with the list of those known.
Result<DType> dtype_from_gguf(uint32_t id);

// Dimensions, slowest first (row-major): a weight matrix is {out, in}, a stack of experts {n, out,
// in}.
using Shape = std::vector<int64_t>;

// Bytes that a tensor takes. Refused: no dimension, one below 1, rows that do not divide into the
// type's blocks, and products beyond 63 bits.
Result<uint64_t> stored_bytes(DType dtype, const Shape& shape);

}  // namespace sluice::tensor
