// How K and V lie in memory: one slab per layer, cut into blocks of `block_size` positions.
//
// Block b of a layer starts at b * kv_layer_block_bytes(). In it, for each KV head:
//
//   K   groups of kv_group() positions; in a group, for each dimension, the group's positions side
//       by side, so that the scores of neighbouring positions come in one vector;
//   V   block_size rows of head_dim elements.
//
// An int8 cache has float scales after all heads' K and V: for each head block_size scales of K,
// then of V; an element is q * scale with q in -127 … 127.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::kernels {

enum class KvElement { kF32, kF16, kBf16, kInt8 };

struct KvLayer {
  KvElement element = KvElement::kF16;
  int kv_heads = 0;
  int head_dim = 0;
  int block_size = 0;
  std::byte* data = nullptr;  // blocks * kv_layer_block_bytes()
};

// An int8 row whose largest element is no larger is zero: 127 over it would overflow.
inline constexpr float kTinyKv = 1e-30F;

// Positions of a group of K wherever a block holds whole groups.
inline constexpr int kKvGroup = 16;

// 16 when it divides block_size; otherwise a block is one group.
constexpr int kv_group(int block_size) {
  return block_size % kKvGroup == 0 ? kKvGroup : block_size;
}

int64_t kv_element_bytes(KvElement element);

// Bytes of one block of one layer, a multiple of 64.
int64_t kv_layer_block_bytes(KvElement element, int kv_heads, int head_dim, int block_size);

// One KV head's part of a block. Scales are null unless the cache is int8; nothing is promised to
// be aligned.
struct KvHead {
  std::byte* k;
  std::byte* v;
  std::byte* k_scales;
  std::byte* v_scales;
};

KvHead kv_head(const KvLayer& kv, int32_t block, int head);

// Where one position of one KV head lies.
struct KvRow {
  std::byte* k;  // the first element; the others follow k_stride elements apart
  int64_t k_stride;
  std::byte* v;        // head_dim elements
  std::byte* k_scale;  // null unless int8
  std::byte* v_scale;
};

KvRow kv_row(const KvLayer& kv, int32_t block, int head, int offset_in_block);

}  // namespace sluice::kernels
