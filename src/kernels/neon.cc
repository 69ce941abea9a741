// The ops of NEON, which every 64-bit ARM processor has.
#include "kernels/op_table.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/scratch.h"

namespace sluice::kernels {
namespace neon {
namespace {

constexpr int kQueryTile = 4;

// Order matters: each is written over the names of those before it.
// clang-format off
#include "kernels/vec_neon.inl"
#include "kernels/simd_math.inl"
#include "kernels/simd_ops.inl"
#include "kernels/simd_kv.inl"
#include "kernels/simd_attention_cache.inl"
#include "kernels/simd_attention_float.inl"
#include "kernels/simd_attention.inl"
// clang-format on

constexpr OpTable kTable = {
    .attention = attention,
    .merge_attention = merge_attention,
    .store_kv = store_kv,
    .rms_norm = rms_norm,
    .rope_neighbours = rope_neighbours,
    .rope_halves = rope_halves,
    .silu_mul = silu_mul,
    .gelu_mul = gelu_mul,
    .add = add,
    .add_scaled = add_scaled,
    .softcap = softcap,
    .softmax = softmax,
};

}  // namespace
}  // namespace neon

const OpTable& neon_ops() { return neon::kTable; }

}  // namespace sluice::kernels
#endif
