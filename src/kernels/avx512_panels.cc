// Panel products of F16 weights in float32, and of BF16 ones for processors without the BF16 dot
// product unit and those whose float32 units do more; int8 ones are those of avx2_panels.cc. See
// avx512.cc for the rules of such a file.
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
#include "kernels/dot_float512.inl"
#include "kernels/panel_tiles.inl"
#include "kernels/panel_floats.inl"
// clang-format on

}  // namespace
}  // namespace avx512
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {

const PanelTable& avx512_panels() {
  static const PanelTable kTable = {
      .quantized = avx2_panels().quantized,
      .bf16 = {.row_kind = avx512::kRowKind,
               .tile_rows = avx512::kPanelRows,
               .pack_row = avx512::pack_row,
               .multiply = avx512::multiply_floats<tensor::DType::kBF16>},
      .f16 = {.row_kind = avx512::kRowKind,
              .tile_rows = avx512::kPanelRows,
              .pack_row = avx512::pack_row,
              .multiply = avx512::multiply_floats<tensor::DType::kF16>},
  };
  return kTable;
}

}  // namespace sluice::kernels
#endif
