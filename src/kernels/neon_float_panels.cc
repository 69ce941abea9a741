// Panel products of float weights with NEON.
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

namespace sluice::kernels {
namespace neon {
namespace {

constexpr RowKind kRowKind = RowKind::kF32;

// clang-format off
#include "kernels/vec_neon.inl"
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
}  // namespace neon

const PanelTable& neon_float_panels() { return neon::kTable; }

}  // namespace sluice::kernels
#endif
