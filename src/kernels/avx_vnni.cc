// Panel products of AVX-VNNI. See avx2.cc for the rules of such a file.
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

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
namespace sluice::kernels {
namespace avx_vnni {
namespace {

// Order matters: each is written over the names of those before it.
// clang-format off
#include "kernels/vec_avx2.inl"
#include "kernels/dot_256.inl"
#include "kernels/dot_vnni256.inl"
#include "kernels/panel_tiles.inl"
#include "kernels/sums_biased.inl"
#include "kernels/panel_formats.inl"
#include "kernels/panel_decoded.inl"
#include "kernels/panel_dots.inl"
#include "kernels/panel_matmul.inl"
#include "kernels/panel_rows.inl"
// clang-format on

}  // namespace
}  // namespace avx_vnni
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {

const PanelTable& avx_vnni_panels() {
  static const PanelTable kTable = [] {
    PanelTable table = avx2_float_panels();
    table.quantized = {.tile_rows = avx_vnni::kPanelRows,
                       .pack_row = avx_vnni::pack_int8_row,
                       .multiply = avx_vnni::multiply_int8};
    return table;
  }();
  return kTable;
}

}  // namespace sluice::kernels
#endif
