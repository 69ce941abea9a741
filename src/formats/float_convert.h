// Values of F32, F16 and BF16 tensors as floats: for norms and rope factors that a reader itself
// has to look at. Matrices are converted by kernels/.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace sluice::formats {

// `bytes` holds out.size() values of `dtype`, which is F32, F16 or BF16.
void to_floats(tensor::DType dtype, std::span<const std::byte> bytes, std::span<float> out);

}  // namespace sluice::formats
