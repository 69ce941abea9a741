// How K and V lie in memory: one slab per layer, cut into blocks of `block_size` positions.
//
// Within a block: for each KV head, block_size rows of head_dim elements of K, then the same of V.
// An int8 cache has one float scale per position and head after them: kv_heads * block_size scales
// of K, then as many of V; an element is q * scale with q in -127 … 127. Block b of a layer starts
// at b * block_bytes. Rows are 64-byte aligned when head_dim * element size allows it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::kernels {

enum class KvElement { kF32, kF16, kInt8 };

struct KvLayer {
  KvElement element = KvElement::kF16;
  int kv_heads = 0;
  int head_dim = 0;
  int block_size = 0;
  std::byte* data = nullptr;  // blocks * kv_layer_block_bytes()
};

// Bytes of one block of one layer, a multiple of 64.
int64_t kv_layer_block_bytes(KvElement element, int kv_heads, int head_dim, int block_size);

// Where one position of one KV head lies. Scales are null unless the cache is int8; neither rows
// nor scales are promised to be aligned.
struct KvRow {
  std::byte* k;
  std::byte* v;
  std::byte* k_scale;
  std::byte* v_scale;
};

KvRow kv_row(const KvLayer& kv, int32_t block, int kv_head, int offset_in_block);

}  // namespace sluice::kernels
