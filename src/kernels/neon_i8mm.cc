// Panel products of NEON with int8 matrix products. See avx2.cc for the rules of such a file.
#include "kernels/panels.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "kernels/isa.h"

#pragma clang attribute push(__attribute__((target("i8mm"))), apply_to = function)
namespace sluice::kernels {
namespace neon_i8mm {
namespace {

// Order matters: each is written over the names of those before it.
// clang-format off
#include "kernels/vec_neon.inl"
#include "kernels/dot_neon.inl"
#include "kernels/dot_usdot.inl"
#include "kernels/panel_tiles.inl"
#include "kernels/sums_converted.inl"
#include "kernels/panel_formats.inl"
#include "kernels/panel_decoded.inl"
#include "kernels/panel_pairs.inl"
#include "kernels/panel_matmul.inl"
#include "kernels/panel_rows.inl"
// clang-format on

}  // namespace
}  // namespace neon_i8mm
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {

const PanelTable& neon_i8mm_panels() {
  static const PanelTable kTable = [] {
    PanelTable table = neon_float_panels();
    table.quantized = {.tile_rows = neon_i8mm::kPanelRows,
                       .pack_row = neon_i8mm::pack_int8_row,
                       .multiply = neon_i8mm::multiply_int8};
    return table;
  }();
  return kTable;
}

}  // namespace sluice::kernels
#endif
