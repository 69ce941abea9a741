// Dequantizing in plain C++: what the vectorized decoders are tested against, bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace sluice::kernels {

// `count` elements of a row of any dtype, from its first byte on. `count` is a multiple of the
// dtype's block; `src` needs no alignment.
void dequantize(tensor::DType dtype, const std::byte* src, int64_t count, float* out);

}  // namespace sluice::kernels
