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

constexpr PanelOps kBf16 = float_ops<tensor::DType::kBF16>();

}  // namespace
}  // namespace avx512_bf16
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {

const PanelTable& avx512_bf16_panels() {
  static const PanelTable kTable = [] {
    PanelTable table = avx512_vnni_panels();
    table.bf16 = avx512_bf16::kBf16;
    return table;
  }();
  return kTable;
}

}  // namespace sluice::kernels
#endif
