// Block formats of quantized weights, byte for byte as GGUF stores them (spec: ggml-org/ggml,
// docs/gguf.md; little endian). Every struct has alignment 1, so a block may lie anywhere.
//
// A float16 is kept as two bytes: load_f16() reads it. Formats with 256 elements a block ("K" and
// IQ4_XS) divide it into sub-blocks of 16 or 32 elements with small integer scales of their own.
// dequant.cc is the plain reading of each; panel_pack.cc takes them apart.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/half.h"

namespace sluice::kernels {

struct F16Bytes {
  uint8_t bytes[2];
};

inline uint16_t load_u16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline float load_f16(F16Bytes h) { return f16_to_float(load_u16(h.bytes)); }

// w = d * (q - 8). Byte j holds elements j (low nibble) and j + 16 (high nibble).
struct BlockQ4_0 {
  F16Bytes d;
  uint8_t qs[16];
};

// w = d * q + m, nibbles as in Q4_0.
struct BlockQ4_1 {
  F16Bytes d;
  F16Bytes m;
  uint8_t qs[16];
};

// w = d * (q - 16), nibbles as in Q4_0; bit j of qh is the fifth bit of element j.
struct BlockQ5_0 {
  F16Bytes d;
  uint8_t qh[4];
  uint8_t qs[16];
};

// w = d * q + m, bits as in Q5_0.
struct BlockQ5_1 {
  F16Bytes d;
  F16Bytes m;
  uint8_t qh[4];
  uint8_t qs[16];
};

// w = d * q.
struct BlockQ8_0 {
  F16Bytes d;
  int8_t qs[32];
};

// w = (d * (sc & 15)) * q - dmin * (sc >> 4), a scale byte per 16 elements. Each half of 128
// elements has 32 bytes of qs: byte l holds elements l, l + 32, l + 64, l + 96 (two bits each).
struct BlockQ2_K {
  uint8_t scales[16];
  uint8_t qs[64];
  F16Bytes d;
  F16Bytes dmin;
};

// w = (d * (sc - 32)) * (q - (high bit ? 0 : 4)), a 6-bit scale per 16 elements; qs as in Q2_K.
// hmask byte l: bit 4 * half + j is the high bit of element 128 * half + 32 * j + l.
// Scale i: low four bits in the nibbles of scales[i % 8], two high bits in scales[8 + i % 4].
struct BlockQ3_K {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  F16Bytes d;
};

// w = (d * sc) * q - dmin * m, 6-bit sc and m per 32 elements, packed in 12 bytes (k_scale_min).
// Each quarter of 64 elements has 32 bytes: low nibbles its first half, high nibbles its second.
struct BlockQ4_K {
  F16Bytes d;
  F16Bytes dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};

// As Q4_K with a fifth bit: qh byte l, bit j belongs to element 32 * j + l.
struct BlockQ5_K {
  F16Bytes d;
  F16Bytes dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};

// w = (d * sc) * (q - 32), an 8-bit scale per 16 elements. In each half of 128 elements, with
// 64 bytes of ql and 32 of qh: element 32 * j + l has its low nibble in ql[32 * (j % 2) + l] (low
// nibble for j < 2, high for j >= 2) and bits 2 * j, 2 * j + 1 of qh[l] above it.
struct BlockQ6_K {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  F16Bytes d;
};

// w = d * kIq4Values[q], nibbles as in Q4_0.
struct BlockIQ4_NL {
  F16Bytes d;
  uint8_t qs[16];
};

// w = (d * (sc - 32)) * kIq4Values[q]; sub-block i of 32 elements has 16 bytes of qs (nibbles as in
// Q4_0), the low four bits of its scale in scales_l[i / 2], two high bits in scales_h >> 2 * i.
struct BlockIQ4_XS {
  F16Bytes d;
  uint8_t scales_h[2];
  uint8_t scales_l[4];
  uint8_t qs[128];
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ2_K) == 84);
static_assert(sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176);
static_assert(sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_NL) == 18 && sizeof(BlockIQ4_XS) == 136);

inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

struct ScaleMin {
  int scale;
  int min;
};

// Scale and min of sub-block j (0 … 7) of Q4_K and Q5_K.
inline ScaleMin k_scale_min(const uint8_t* s, int j) {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | ((s[j - 4] >> 6) << 4), (s[j + 4] >> 4) | ((s[j] >> 6) << 4)};
}

// Scale of sub-block j (0 … 15) of Q3_K, its offset of 32 taken off.
inline int q3k_scale(const uint8_t* s, int j) {
  const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
  return (low | (((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4)) - 32;
}

// Scale of sub-block j (0 … 7) of IQ4_XS, its offset of 32 taken off.
inline int iq4xs_scale(const BlockIQ4_XS& b, int j) {
  const int low = (b.scales_l[j / 2] >> (4 * (j % 2))) & 15;
  return (low | (((load_u16(b.scales_h) >> (2 * j)) & 3) << 4)) - 32;
}

}  // namespace sluice::kernels
