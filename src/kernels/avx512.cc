// The ops of AVX-512 F, BW, DQ and VL. Only the functions between push and pop may use its
// instructions: no inline function of a shared header is compiled with them, so none can leak into
// the program.
#include "kernels/op_table.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/scratch.h"

#pragma clang attribute push(                                                    \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), \
    apply_to = function)
namespace sluice::kernels {
namespace avx512 {
namespace {

constexpr int kQueryTile = 14;

// Order matters: each is written over the names of those before it.
// clang-format off
#include "kernels/vec_avx512.inl"
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
}  // namespace avx512
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {

const OpTable& avx512_ops() { return avx512::kTable; }

}  // namespace sluice::kernels
#endif
