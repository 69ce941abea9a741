// Attention over a BF16 cache by the BF16 dot product unit; all else is avx512.cc's. See there for
// the rules of such a file.
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

#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), \
    apply_to = function)
namespace sluice::kernels {
namespace avx512_bf16 {
namespace {

constexpr int kQueryTile = 14;

// clang-format off
#include "kernels/vec_avx512.inl"
#include "kernels/simd_math.inl"
#include "kernels/dot_bf16.inl"
#include "kernels/simd_attention_cache.inl"
#include "kernels/simd_attention_bf16.inl"
#include "kernels/simd_attention.inl"
// clang-format on

}  // namespace
}  // namespace avx512_bf16
}  // namespace sluice::kernels
#pragma clang attribute pop

namespace sluice::kernels {
namespace {

void attention_of_any(const AttentionTask& t) {
  (t.kv->element == KvElement::kBf16 ? avx512_bf16::attention : avx512_ops().attention)(t);
}

}  // namespace

const OpTable& avx512_bf16_ops() {
  static const OpTable kTable = [] {
    OpTable table = avx512_ops();
    table.attention = attention_of_any;
    table.merge_attention = avx512_bf16::merge_attention;
    return table;
  }();
  return kTable;
}

}  // namespace sluice::kernels
#endif
