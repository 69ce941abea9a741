// Repacking stored weights into panels: plain C++ whose loops the compiler vectorizes.
#include <algorithm>
#include <cstring>

#include "kernels/blocks.h"
#include "kernels/panels.h"

#if defined(__x86_64__)
// Every instruction set with panels has AVX2. Headers come before, so that none gets it.
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#endif

namespace sluice::kernels {
namespace {

using tensor::DType;

constexpr int kMostBlocks = 8;
constexpr int kMostSmall = 16;

// One column of a half group, unpacked: quants as they are stored in planes, one a byte.
struct Column {
  uint8_t quants[kMostBlocks * kBlockElements];
  uint16_t halves[4];
  uint8_t small[kMostSmall];
};

uint16_t half_bits(F16Bytes h) { return load_u16(h.bytes); }

void nibbles(const uint8_t* qs, uint8_t* q) {
  for (int j = 0; j < 16; ++j) {
    q[j] = qs[j] & 15;
    q[j + 16] = qs[j] >> 4;
  }
}

void fifth_bits(const uint8_t* qh, uint8_t* q) {
  for (int i = 0; i < 32; ++i) q[i] |= static_cast<uint8_t>(((qh[i / 8] >> (i % 8)) & 1) << 4);
}

// Blocks of 32: `i` is the block's place in its group, of `blocks`.
void unpack(const BlockQ8_0& b, int i, Column& c) {
  c.halves[i] = half_bits(b.d);
  for (int j = 0; j < 32; ++j) c.quants[32 * i + j] = static_cast<uint8_t>(b.qs[j]) ^ 0x80;
}

void unpack(const BlockQ4_0& b, int i, Column& c) {
  c.halves[i] = half_bits(b.d);
  nibbles(b.qs, c.quants + 32 * i);
}

// The min is subtracted in a panel.
constexpr uint16_t kSign = 0x8000;

void unpack(const BlockQ4_1& b, int i, Column& c) {
  c.halves[i] = half_bits(b.d);
  c.halves[2 + i] = half_bits(b.m) ^ kSign;
  nibbles(b.qs, c.quants + 32 * i);
}

void unpack(const BlockQ5_0& b, int i, Column& c) {
  c.halves[i] = half_bits(b.d);
  nibbles(b.qs, c.quants + 32 * i);
  fifth_bits(b.qh, c.quants + 32 * i);
}

void unpack(const BlockQ5_1& b, int i, Column& c) {
  c.halves[i] = half_bits(b.d);
  c.halves[2 + i] = half_bits(b.m) ^ kSign;
  nibbles(b.qs, c.quants + 32 * i);
  fifth_bits(b.qh, c.quants + 32 * i);
}

void unpack(const BlockIQ4_NL& b, int i, Column& c) {
  c.halves[i] = half_bits(b.d);
  nibbles(b.qs, c.quants + 32 * i);
}

// Two-bit quants: each half of 128 elements has 32 bytes.
void two_bits(const uint8_t* qs, uint8_t* q) {
  for (int part = 0; part < 8; ++part) {
    const uint8_t* from = qs + 32 * (part / 4);
    for (int l = 0; l < 32; ++l) q[32 * part + l] = (from[l] >> (2 * (part % 4))) & 3;
  }
}

// Four-bit quants of Q4_K and Q5_K: each quarter of 64 elements has 32 bytes.
void k_nibbles(const uint8_t* qs, uint8_t* q) {
  for (int part = 0; part < 8; ++part) {
    const uint8_t* from = qs + 32 * (part / 2);
    for (int l = 0; l < 32; ++l) q[32 * part + l] = (from[l] >> (4 * (part % 2))) & 15;
  }
}

void k_scales(const uint8_t* scales, Column& c) {
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = k_scale_min(scales, j);
    c.small[j] = static_cast<uint8_t>(s.scale);
    c.small[8 + j] = static_cast<uint8_t>(s.min);
  }
}

void unpack(const BlockQ2_K& b, int, Column& c) {
  c.halves[0] = half_bits(b.d);
  c.halves[1] = half_bits(b.dmin);
  std::copy_n(b.scales, 16, c.small);
  two_bits(b.qs, c.quants);
}

void unpack(const BlockQ3_K& b, int, Column& c) {
  c.halves[0] = half_bits(b.d);
  for (int j = 0; j < 16; ++j) c.small[j] = static_cast<uint8_t>(q3k_scale(b.scales, j));
  two_bits(b.qs, c.quants);
  for (int part = 0; part < 8; ++part) {
    for (int l = 0; l < 32; ++l) {
      c.quants[32 * part + l] |= static_cast<uint8_t>(((b.hmask[l] >> part) & 1) << 2);
    }
  }
}

void unpack(const BlockQ4_K& b, int, Column& c) {
  c.halves[0] = half_bits(b.d);
  c.halves[1] = half_bits(b.dmin);
  k_scales(b.scales, c);
  k_nibbles(b.qs, c.quants);
}

void unpack(const BlockQ5_K& b, int, Column& c) {
  c.halves[0] = half_bits(b.d);
  c.halves[1] = half_bits(b.dmin);
  k_scales(b.scales, c);
  k_nibbles(b.qs, c.quants);
  for (int part = 0; part < 8; ++part) {
    for (int l = 0; l < 32; ++l) {
      c.quants[32 * part + l] |= static_cast<uint8_t>(((b.qh[l] >> part) & 1) << 4);
    }
  }
}

void unpack(const BlockQ6_K& b, int, Column& c) {
  c.halves[0] = half_bits(b.d);
  std::memcpy(c.small, b.scales, 16);
  for (int part = 0; part < 8; ++part) {
    const int j = part % 4;
    const uint8_t* ql = b.ql + 64 * (part / 4) + 32 * (j % 2);
    const uint8_t* qh = b.qh + 32 * (part / 4);
    for (int l = 0; l < 32; ++l) {
      const int high = (qh[l] >> (2 * j)) & 3;
      c.quants[32 * part + l] = static_cast<uint8_t>(((ql[l] >> (4 * (j / 2))) & 15) | (high << 4));
    }
  }
}

void unpack(const BlockIQ4_XS& b, int, Column& c) {
  c.halves[0] = half_bits(b.d);
  for (int j = 0; j < 8; ++j) {
    c.small[j] = static_cast<uint8_t>(iq4xs_scale(b, j));
    nibbles(b.qs + 16 * j, c.quants + 32 * j);
  }
}

// The quants of a block of sixteen columns, by step: byte 4 * c + i of step j.
void transpose(const Column* columns, int block, uint8_t (*steps)[kPlaneBytes]) {
  for (int c = 0; c < kHalfColumns; ++c) {
    const uint8_t* from = columns[c].quants + block * kBlockElements;
    for (int j = 0; j < kSteps; ++j) std::memcpy(steps[j] + 4 * c, from + 4 * j, 4);
  }
}

void write_planes(const PanelLayout& layout, const uint8_t (*steps)[kPlaneBytes], uint8_t* out) {
  uint8_t planes[kSteps][kPlaneBytes] = {};
  const int low = layout.low, high = layout.high;
  for (int j = 0; j < kSteps; ++j) {
    uint8_t* low_plane = planes[j % low];
    const int low_shift = j / low * low;
    for (int i = 0; i < kPlaneBytes; ++i) {
      const int bits = steps[j][i] & ((1 << low) - 1);
      low_plane[i] |= static_cast<uint8_t>(bits << low_shift);
    }
    if (high == 0) continue;
    uint8_t* high_plane = planes[low + j % high];
    const int high_shift = j / high * high;
    for (int i = 0; i < kPlaneBytes; ++i) {
      high_plane[i] |= static_cast<uint8_t>((steps[j][i] >> low) << high_shift);
    }
  }
  std::memcpy(out, planes, static_cast<size_t>(layout.planes()) * kPlaneBytes);
}

void write_half(const PanelLayout& layout, const Column* columns, uint8_t* out) {
  std::memset(out, 0, static_cast<size_t>(layout.head_bytes()));
  for (int c = 0; c < kHalfColumns; ++c) {
    for (int i = 0; i < layout.halves; ++i) {
      std::memcpy(out + 32 * i + 2 * c, &columns[c].halves[i], 2);
    }
    for (int i = 0; i < layout.small; ++i) {
      out[32 * layout.halves + 16 * i + c] = columns[c].small[i];
    }
  }
  out += layout.head_bytes();
  for (int block = 0; block < layout.blocks; ++block, out += layout.planes() * kPlaneBytes) {
    uint8_t steps[kSteps][kPlaneBytes];
    transpose(columns, block, steps);
    write_planes(layout, steps, out);
  }
}

template <typename Block>
void pack_quants(const WeightRows& w, int64_t panel, std::byte* out) {
  const PanelLayout layout = panel_layout(w.dtype);
  const int per_group =
      layout.group_elements() / static_cast<int>(tensor::dtype_info(w.dtype).block_elements);
  const int64_t stored = w.row_bytes / static_cast<int64_t>(sizeof(Block));
  const int64_t groups = panel_groups(w.dtype, w.in);
  Column columns[kHalfColumns];
  for (int64_t g = 0; g < groups; ++g) {
    for (int half = 0; half < kPanelColumns / kHalfColumns; ++half) {
      for (int c = 0; c < kHalfColumns; ++c) {
        columns[c] = {};
        const int64_t col = panel * kPanelColumns + half * kHalfColumns + c;
        if (col >= w.out) continue;
        const int64_t first = g * per_group;
        const int count = static_cast<int>(std::min<int64_t>(per_group, stored - first));
        const std::byte* from =
            w.data + col * w.row_bytes + first * static_cast<int64_t>(sizeof(Block));
        for (int i = 0; i < count; ++i) {
          Block block;
          std::memcpy(&block, from + static_cast<size_t>(i) * sizeof(Block), sizeof block);
          unpack(block, i, columns[c]);
        }
      }
      write_half(layout, columns, reinterpret_cast<uint8_t*>(out));
      out += layout.half_bytes();
    }
  }
}

// `column_bytes` lie between neighbouring columns' first elements of a pair, `second_bytes` between
// the elements of a pair.
template <typename Element>
void pack_pairs(const WeightRows& w, int64_t panel, int column_bytes, int second_bytes,
                std::byte* out) {
  constexpr int kPairs = kBlockElements / 2;
  const PanelLayout layout = panel_layout(w.dtype);
  const int64_t groups = panel_groups(w.dtype, w.in);
  const int pair_bytes = layout.planes() / kPairs * kPlaneBytes;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t k = g * kBlockElements;
    const auto some = static_cast<size_t>(std::min<int64_t>(kBlockElements, w.in - k));
    for (int half = 0; half < kPanelColumns / kHalfColumns; ++half) {
      for (int c = 0; c < kHalfColumns; ++c) {
        Element pairs[kPairs][2] = {};
        const int64_t col = panel * kPanelColumns + half * kHalfColumns + c;
        if (col < w.out) {
          const std::byte* from = w.data + col * w.row_bytes;
          std::memcpy(pairs, from + static_cast<size_t>(k) * sizeof(Element),
                      some * sizeof(Element));
        }
        for (int i = 0; i < kPairs; ++i) {
          std::byte* first = out + i * pair_bytes + column_bytes * c;
          std::memcpy(first, &pairs[i][0], sizeof(Element));
          std::memcpy(first + second_bytes, &pairs[i][1], sizeof(Element));
        }
      }
      out += layout.half_bytes();
    }
  }
}

}  // namespace

void pack_panel(const WeightRows& w, int64_t panel, std::byte* out) {
  switch (w.dtype) {
    case DType::kQ8_0:
      return pack_quants<BlockQ8_0>(w, panel, out);
    case DType::kQ4_0:
      return pack_quants<BlockQ4_0>(w, panel, out);
    case DType::kQ4_1:
      return pack_quants<BlockQ4_1>(w, panel, out);
    case DType::kQ5_0:
      return pack_quants<BlockQ5_0>(w, panel, out);
    case DType::kQ5_1:
      return pack_quants<BlockQ5_1>(w, panel, out);
    case DType::kQ2_K:
      return pack_quants<BlockQ2_K>(w, panel, out);
    case DType::kQ3_K:
      return pack_quants<BlockQ3_K>(w, panel, out);
    case DType::kQ4_K:
      return pack_quants<BlockQ4_K>(w, panel, out);
    case DType::kQ5_K:
      return pack_quants<BlockQ5_K>(w, panel, out);
    case DType::kQ6_K:
      return pack_quants<BlockQ6_K>(w, panel, out);
    case DType::kIQ4_NL:
      return pack_quants<BlockIQ4_NL>(w, panel, out);
    case DType::kIQ4_XS:
      return pack_quants<BlockIQ4_XS>(w, panel, out);
    case DType::kBF16:
      return pack_pairs<uint16_t>(w, panel, 4, 2, out);
    case DType::kF16:
      return pack_pairs<uint16_t>(w, panel, 2, kPlaneBytes / 2, out);
    case DType::kF32:
      return pack_pairs<uint32_t>(w, panel, 4, kPlaneBytes, out);
  }
}

}  // namespace sluice::kernels

#if defined(__x86_64__)
#pragma clang attribute pop
#endif
