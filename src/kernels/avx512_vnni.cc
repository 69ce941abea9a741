// Panel products of AVX-512 with VNNI; those of float weights are avx512_panels.cc's. See
// avx512.cc for the rules of such a file.
#include "kernels/panels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "kernels/isa.h"

#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), \
    apply_to = function)
namespace sluice::kernels {
namespace avx512_vnni {
namespace {

// Order matters: each is written over the names of those before it.
// clang-format off
#include "kernels/vec_avx512.inl"
#include "kernels/dot_vnni512.inl"
#include "kernels/panel_tiles.inl"
#include "kernels/sums_biased.inl"
#include "kernels/panel_formats.inl"
#include "kernels/panel_decoded.inl"
#include "kernels/panel_dots.inl"
#include "kernels/panel_matmul.inl"
#include "kernels/panel_rows.inl"
// clang-format on

}  // namespace
}  // namespace avx512_vnni
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {

const PanelTable& avx512_vnni_panels() {
  static const PanelTable kTable = [] {
    PanelTable table = avx512_panels();
    table.quantized = {.tile_rows = avx512_vnni::kUsualRows,
                       .tall_tile_rows = avx512_vnni::kTallRows,
                       .few_tile_rows = avx512_vnni::kPanelRows,
                       .pack_row = avx512_vnni::pack_int8_row,
                       .multiply = avx512_vnni::multiply_int8};
    return table;
  }();
  return kTable;
}

}  // namespace sluice::kernels
#endif
