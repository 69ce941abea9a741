// Panel products of float weights with AVX2. See avx2.cc for the rules of such a file.
#include "kernels/panels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/isa.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
namespace sluice::kernels {
namespace avx2 {
namespace {

constexpr RowKind kRowKind = RowKind::kF32;

// clang-format off
#include "kernels/vec_avx2.inl"
#include "kernels/dot_float.inl"
#include "kernels/panel_tiles.inl"
#include "kernels/panel_floats.inl"
// clang-format on

constexpr PanelTable kTable = {
    .quantized = {},
    .bf16 = float_ops<tensor::DType::kBF16>(),
    .f16 = float_ops<tensor::DType::kF16>(),
    .f32 = float_ops<tensor::DType::kF32>(),
};

}  // namespace
}  // namespace avx2
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {

const PanelTable& avx2_float_panels() { return avx2::kTable; }

}  // namespace sluice::kernels
#endif
