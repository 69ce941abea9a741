// Panel products of NEON's BF16 dot product; int8 ones are those of neon_i8mm.cc. See avx2.cc for
// the rules of such a file.
#include "kernels/panels.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/isa.h"

#pragma clang attribute push(__attribute__((target("bf16"))), apply_to = function)
namespace sluice::kernels {
namespace neon_bf16 {
namespace {

constexpr RowKind kRowKind = RowKind::kBf16;

// clang-format off
#include "kernels/vec_neon.inl"
#include "kernels/dot_bfdot.inl"
#include "kernels/panel_tiles.inl"
#include "kernels/panel_floats.inl"
// clang-format on

constexpr PanelOps kBf16 = float_ops<tensor::DType::kBF16>();

}  // namespace
}  // namespace neon_bf16
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {

const PanelTable& neon_bf16_panels() {
  static const PanelTable kTable = [] {
    PanelTable table = neon_i8mm_panels();
    table.bf16 = neon_bf16::kBf16;
    return table;
  }();
  return kTable;
}

}  // namespace sluice::kernels
#endif
