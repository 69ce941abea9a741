#include "kernels/kv_layout.h"

namespace sluice::kernels {

int64_t kv_element_bytes(KvElement element) {
  switch (element) {
    case KvElement::kF32:
      return 4;
    case KvElement::kF16:
    case KvElement::kBf16:
      return 2;
    case KvElement::kInt8:
      return 1;
  }
  return 0;
}

int64_t kv_layer_block_bytes(KvElement element, int kv_heads, int head_dim, int block_size) {
  const int64_t rows = int64_t{2} * kv_heads * block_size;
  const int64_t scales = element == KvElement::kInt8 ? rows * int64_t{sizeof(float)} : 0;
  const int64_t bytes = rows * head_dim * kv_element_bytes(element) + scales;
  return (bytes + 63) / 64 * 64;
}

KvHead kv_head(const KvLayer& kv, int32_t block, int head) {
  std::byte* start =
      kv.data + block * kv_layer_block_bytes(kv.element, kv.kv_heads, kv.head_dim, kv.block_size);
  const int64_t half = int64_t{kv.block_size} * kv.head_dim * kv_element_bytes(kv.element);
  KvHead found{start + 2 * head * half, start + (2 * head + 1) * half, nullptr, nullptr};
  if (kv.element == KvElement::kInt8) {
    const int64_t half_scales = int64_t{kv.block_size} * int64_t{sizeof(float)};
    std::byte* scales = start + 2 * kv.kv_heads * half;
    found.k_scales = scales + 2 * head * half_scales;
    found.v_scales = found.k_scales + half_scales;
  }
  return found;
}

KvRow kv_row(const KvLayer& kv, int32_t block, int head, int offset_in_block) {
  const KvHead at = kv_head(kv, block, head);
  const int64_t bytes = kv_element_bytes(kv.element), offset = offset_in_block;
  const int64_t group = kv_group(kv.block_size);
  const int64_t k = offset / group * group * kv.head_dim + offset % group;
  KvRow found{at.k + k * bytes, group, at.v + offset * kv.head_dim * bytes, nullptr, nullptr};
  if (kv.element == KvElement::kInt8) {
    found.k_scale = at.k_scales + offset * int64_t{sizeof(float)};
    found.v_scale = at.v_scales + offset * int64_t{sizeof(float)};
  }
  return found;
}

}  // namespace sluice::kernels
