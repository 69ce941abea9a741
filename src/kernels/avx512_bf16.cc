// Panel products of the BF16 dot product unit; int8 ones are those of avx512_vnni.cc. See avx512.cc
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

#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), \
    apply_to = function)
namespace sluice::kernels {
namespace avx512_bf16 {
namespace {

constexpr RowKind kRowKind = RowKind::kBf16;

// clang-format off
#include "kernels/vec_avx512.inl"
#include "kernels/dot_bf16.inl"
#include "kernels/panel_tiles.inl"
#include "kernels/panel_floats.inl"
// clang-format on

}  // namespace
}  // namespace avx512_bf16
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {

const PanelTable& avx512_bf16_panels() {
  static const PanelTable kTable = {
      .quantized = avx512_vnni_panels().quantized,
      .bf16 = {.row_kind = avx512_bf16::kRowKind,
               .tile_rows = avx512_bf16::kPanelRows,
               .pack_row = avx512_bf16::pack_row,
               .multiply = avx512_bf16::multiply_floats<tensor::DType::kBF16>},
      .f16 = avx512_panels().f16,
  };
  return kTable;
}

}  // namespace sluice::kernels
#endif
