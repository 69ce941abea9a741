#include "kernels/kv_layout.h"

namespace sluice::kernels {
namespace {

int64_t element_bytes(KvElement element) {
  switch (element) {
    case KvElement::kF32:
      return 4;
    case KvElement::kF16:
      return 2;
    case KvElement::kInt8:
      return 1;
  }
  return 0;
}

}  // namespace

int64_t kv_layer_block_bytes(KvElement element, int kv_heads, int head_dim, int block_size) {
  const int64_t rows = int64_t{2} * kv_heads * block_size;
  const int64_t scales = element == KvElement::kInt8 ? rows * int64_t{sizeof(float)} : 0;
  const int64_t bytes = rows * head_dim * element_bytes(element) + scales;
  return (bytes + 63) / 64 * 64;
}

KvRow kv_row(const KvLayer& kv, int32_t block, int kv_head, int offset_in_block) {
  std::byte* start =
      kv.data + block * kv_layer_block_bytes(kv.element, kv.kv_heads, kv.head_dim, kv.block_size);
  const int64_t row_bytes = kv.head_dim * element_bytes(kv.element);
  const int64_t half_rows = int64_t{kv.kv_heads} * kv.block_size;
  const int64_t row = int64_t{kv_head} * kv.block_size + offset_in_block;
  KvRow found{start + row * row_bytes, start + (half_rows + row) * row_bytes, nullptr, nullptr};
  if (kv.element == KvElement::kInt8) {
    std::byte* scales = start + 2 * half_rows * row_bytes;
    found.k_scale = scales + row * int64_t{sizeof(float)};
    found.v_scale = scales + (half_rows + row) * int64_t{sizeof(float)};
  }
  return found;
}

}  // namespace sluice::kernels
