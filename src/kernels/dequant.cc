#include "kernels/dequant.h"

#include <cstring>

#include "base/check.h"
#include "kernels/blocks.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

void decode(const BlockQ4_0& b, float* out) {
  const float d = load_f16(b.d);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((b.qs[j] & 15) - 8);
    out[j + 16] = d * static_cast<float>((b.qs[j] >> 4) - 8);
  }
}

void decode(const BlockQ4_1& b, float* out) {
  const float d = load_f16(b.d);
  const float m = load_f16(b.m);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(b.qs[j] & 15) + m;
    out[j + 16] = d * static_cast<float>(b.qs[j] >> 4) + m;
  }
}

// The five-bit quant of element `j` of 32.
int five_bits(const uint8_t* qs, const uint8_t* qh, int j) {
  const int low = j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
  return low | (((qh[j / 8] >> (j % 8)) & 1) << 4);
}

void decode(const BlockQ5_0& b, float* out) {
  const float d = load_f16(b.d);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(five_bits(b.qs, b.qh, j) - 16);
}

void decode(const BlockQ5_1& b, float* out) {
  const float d = load_f16(b.d);
  const float m = load_f16(b.m);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(five_bits(b.qs, b.qh, j)) + m;
}

void decode(const BlockQ8_0& b, float* out) {
  const float d = load_f16(b.d);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(b.qs[j]);
}

void decode(const BlockQ2_K& b, float* out) {
  const float d = load_f16(b.d);
  const float dmin = load_f16(b.dmin);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, j = i % 128 / 32, l = i % 32;
    const int q = (b.qs[32 * half + l] >> (2 * j)) & 3;
    const int sc = b.scales[i / 16];
    out[i] = d * static_cast<float>(sc & 15) * static_cast<float>(q) -
             dmin * static_cast<float>(sc >> 4);
  }
}

void decode(const BlockQ3_K& b, float* out) {
  const float d = load_f16(b.d);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, j = i % 128 / 32, l = i % 32;
    const int high = (b.hmask[l] >> (4 * half + j)) & 1;
    const int q = ((b.qs[32 * half + l] >> (2 * j)) & 3) - (high != 0 ? 0 : 4);
    out[i] = d * static_cast<float>(q3k_scale(b.scales, i / 16)) * static_cast<float>(q);
  }
}

void decode(const BlockQ4_K& b, float* out) {
  const float d = load_f16(b.d);
  const float dmin = load_f16(b.dmin);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = k_scale_min(b.scales, j);
    const float scale = d * static_cast<float>(s.scale);
    const float min = dmin * static_cast<float>(s.min);
    for (int l = 0; l < 32; ++l) {
      const int q = (b.qs[32 * (j / 2) + l] >> (4 * (j % 2))) & 15;
      out[32 * j + l] = scale * static_cast<float>(q) - min;
    }
  }
}

void decode(const BlockQ5_K& b, float* out) {
  const float d = load_f16(b.d);
  const float dmin = load_f16(b.dmin);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = k_scale_min(b.scales, j);
    const float scale = d * static_cast<float>(s.scale);
    const float min = dmin * static_cast<float>(s.min);
    for (int l = 0; l < 32; ++l) {
      const int low = (b.qs[32 * (j / 2) + l] >> (4 * (j % 2))) & 15;
      const int q = low | (((b.qh[l] >> j) & 1) << 4);
      out[32 * j + l] = scale * static_cast<float>(q) - min;
    }
  }
}

void decode(const BlockQ6_K& b, float* out) {
  const float d = load_f16(b.d);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, j = i % 128 / 32, l = i % 32;
    const int low = (b.ql[64 * half + 32 * (j % 2) + l] >> (4 * (j / 2))) & 15;
    const int q = (low | (((b.qh[32 * half + l] >> (2 * j)) & 3) << 4)) - 32;
    out[i] = d * static_cast<float>(b.scales[i / 16]) * static_cast<float>(q);
  }
}

void decode(const BlockIQ4_NL& b, float* out) {
  const float d = load_f16(b.d);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kIq4Values[b.qs[j] & 15]);
    out[j + 16] = d * static_cast<float>(kIq4Values[b.qs[j] >> 4]);
  }
}

void decode(const BlockIQ4_XS& b, float* out) {
  const float d = load_f16(b.d);
  for (int i = 0; i < 8; ++i) {
    const float scale = d * static_cast<float>(iq4xs_scale(b, i));
    for (int j = 0; j < 16; ++j) {
      const uint8_t q = b.qs[16 * i + j];
      out[32 * i + j] = scale * static_cast<float>(kIq4Values[q & 15]);
      out[32 * i + j + 16] = scale * static_cast<float>(kIq4Values[q >> 4]);
    }
  }
}

template <typename Block>
void decode_all(const std::byte* src, int64_t count, int64_t block_elements, float* out) {
  const int64_t blocks = count / block_elements;
  for (int64_t i = 0; i < blocks; ++i) {
    Block block;
    std::memcpy(&block, src + i * static_cast<int64_t>(sizeof(Block)), sizeof(Block));
    decode(block, out + i * block_elements);
  }
}

void decode_f16(const std::byte* src, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t h;
    std::memcpy(&h, src + 2 * i, sizeof h);
    out[i] = f16_to_float(h);
  }
}

void decode_bf16(const std::byte* src, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t h;
    std::memcpy(&h, src + 2 * i, sizeof h);
    out[i] = bf16_to_float(h);
  }
}

}  // namespace

void dequantize(DType dtype, const std::byte* src, int64_t count, float* out) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, src, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
      return decode_f16(src, count, out);
    case DType::kBF16:
      return decode_bf16(src, count, out);
    case DType::kQ4_0:
      return decode_all<BlockQ4_0>(src, count, 32, out);
    case DType::kQ4_1:
      return decode_all<BlockQ4_1>(src, count, 32, out);
    case DType::kQ5_0:
      return decode_all<BlockQ5_0>(src, count, 32, out);
    case DType::kQ5_1:
      return decode_all<BlockQ5_1>(src, count, 32, out);
    case DType::kQ8_0:
      return decode_all<BlockQ8_0>(src, count, 32, out);
    case DType::kQ2_K:
      return decode_all<BlockQ2_K>(src, count, 256, out);
    case DType::kQ3_K:
      return decode_all<BlockQ3_K>(src, count, 256, out);
    case DType::kQ4_K:
      return decode_all<BlockQ4_K>(src, count, 256, out);
    case DType::kQ5_K:
      return decode_all<BlockQ5_K>(src, count, 256, out);
    case DType::kQ6_K:
      return decode_all<BlockQ6_K>(src, count, 256, out);
    case DType::kIQ4_NL:
      return decode_all<BlockIQ4_NL>(src, count, 32, out);
    case DType::kIQ4_XS:
      return decode_all<BlockIQ4_XS>(src, count, 256, out);
  }
  SLUICE_CHECK(false, "a dtype that dtype_info() knows");
}

}  // namespace sluice::kernels
