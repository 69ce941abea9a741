// Panel products of plain NEON.
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

namespace sluice::kernels {
namespace neon {
namespace {

// Order matters: each is written over the names of those before it.
// clang-format off
#include "kernels/vec_neon.inl"
#include "kernels/dot_neon.inl"
#include "kernels/dot_signed.inl"
#include "kernels/dot_smull.inl"
#include "kernels/panel_tiles.inl"
#include "kernels/sums_converted.inl"
#include "kernels/panel_formats.inl"
#include "kernels/panel_decoded.inl"
#include "kernels/panel_dots.inl"
#include "kernels/panel_matmul.inl"
#include "kernels/panel_rows.inl"
// clang-format on

}  // namespace
}  // namespace neon

const PanelTable& neon_panels() {
  static const PanelTable kTable = [] {
    PanelTable table = neon_float_panels();
    table.quantized = {.tile_rows = neon::kPanelRows,
                       .pack_row = neon::pack_int8_row,
                       .multiply = neon::multiply_int8};
    return table;
  }();
  return kTable;
}

}  // namespace sluice::kernels
#endif
