// Quantizing: floats to stored blocks. The inverse of dequant.h, as well as each format can say it.
//
// Scales are searched for the smallest squared error, not taken from the largest element alone. The
// result is the same on every processor: instruction sets change the speed only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa.h"
#include "tensor/dtype.h"

namespace sluice::kernels {

// F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K and Q6_K.
bool can_quantize(tensor::DType dtype);

// `count` finite floats into a row of `dtype`, which can_quantize() and whose block divides
// `count`. `out` needs no alignment. Pure; any thread.
void quantize(tensor::DType dtype, const float* src, int64_t count, std::byte* out);
// The same by an instruction set that the processor has: for tests.
void quantize(tensor::DType dtype, const float* src, int64_t count, std::byte* out, Isa isa);

}  // namespace sluice::kernels
