// TensorView: a stored tensor, not owned: dtype, shape and where its bytes lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace sluice::tensor {

// Valid as long as what it points into (a mapped file, an owned buffer) lives. `bytes` holds
// exactly the tensor; that shape and dtype agree with its size was checked by whoever made the
// view.
struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  std::span<const std::byte> bytes;

  int64_t elements() const {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    return n;
  }
  // Length of the fastest dimension, and how many such rows there are.
  int64_t cols() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const { return elements() / cols(); }
  int64_t row_bytes() const {
    const DTypeInfo& info = dtype_info(dtype);
    return cols() / info.block_elements * info.block_bytes;
  }
};

}  // namespace sluice::tensor
