// Panel products of float weights with AVX-512, of BF16 for processors without the BF16 dot product
// unit and those whose float32 units do more; int8 ones are those of avx2_panels.cc. See avx512.cc
// for the rules of such a file.
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

#pragma clang attribute push(                                                    \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), \
    apply_to = function)
namespace sluice::kernels {
namespace avx512 {
namespace {

constexpr RowKind kRowKind = RowKind::kF32;

// clang-format off
#include "kernels/vec_avx512.inl"
#include "kernels/dot_float.inl"
#include "kernels/panel_tiles.inl"
#include "kernels/panel_floats.inl"
// clang-format on

constexpr PanelOps kBf16 = float_ops<tensor::DType::kBF16>();
constexpr PanelOps kF16 = float_ops<tensor::DType::kF16>();
constexpr PanelOps kF32 = float_ops<tensor::DType::kF32>();

}  // namespace
}  // namespace avx512
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {

const PanelTable& avx512_panels() {
  static const PanelTable kTable = {
      .quantized = avx2_panels().quantized,
      .bf16 = avx512::kBf16,
      .f16 = avx512::kF16,
      .f32 = avx512::kF32,
  };
  return kTable;
}

}  // namespace sluice::kernels
#endif
