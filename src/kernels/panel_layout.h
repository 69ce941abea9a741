// The repacked layout of weights, byte for byte.
//
// A panel holds kPanelColumns columns (rows of the stored matrix), as two halves of kHalfColumns.
// It is a sequence of groups; a group holds PanelLayout::blocks blocks of 32 elements of each
// column, first the first half's, then the second's. A half group is:
//
//   head     float16 scales [halves][16], then byte scales [small][16], filled up to 64 bytes
//   block 0  planes of 64 bytes: byte 4 * c + i belongs to column c
//   block 1  …
//
// A block's elements are eight steps of four: element 4 * j + i of column c is the i-th of step j.
// Its quant is stored as an unsigned number. The low L bits of step j lie in plane j % L, shifted
// left by j / L * L; the H bits above them in plane L + j % H, shifted by j / H * H.
//
// What a weight means, with q the unsigned quant, d and m float16, s and n bytes:
//   blocks of 32                  d * (q - zero)             or d * q - m
//   blocks of 256 in the file     d * s * (q - zero)         or d * s * q - m * n
// (IQ4: q is an index into kIq4Values, whose entries plus 128 take its place.)
//
// BF16, F16 and F32 have no head: a group is 32 elements, sixteen planes of pairs of elements, of
// F32 two planes for each. A pair of BF16 lies together; the first elements of sixteen pairs of F16
// and F32 come before their second ones. Columns beyond the matrix and elements beyond its rows are
// zero.
#pragma once

#include <cstdint>
#include <utility>

#include "tensor/dtype.h"

namespace sluice::kernels {

inline constexpr int kPanelColumns = 32;
inline constexpr int kHalfColumns = 16;
inline constexpr int kBlockElements = 32;
inline constexpr int kPlaneBytes = 64;
inline constexpr int kSteps = 8;  // of four elements in a block

struct PanelLayout {
  int blocks = 0;      // of 32 elements in a group
  int low = 0;         // bits of a quant in the low planes; as many planes
  int high = 0;        // bits above them
  int halves = 0;      // vectors of float16 in the head
  int small = 0;       // vectors of bytes in the head
  int subs = 1;        // parts of a block with scales of their own
  int zero_shift = 0;  // log2 of the zero point
  bool has_min = false;
  bool is_table = false;  // quants index kIq4Values

  constexpr int head_bytes() const { return (32 * halves + 16 * small + 63) / 64 * 64; }
  constexpr int planes() const { return low + high; }
  constexpr int half_bytes() const { return head_bytes() + blocks * planes() * kPlaneBytes; }
  constexpr int group_bytes() const { return 2 * half_bytes(); }
  constexpr int group_elements() const { return blocks * kBlockElements; }
};

constexpr PanelLayout panel_layout(tensor::DType dtype) {
  using tensor::DType;
  switch (dtype) {
    case DType::kQ8_0:
      return {.blocks = 2, .low = 8, .halves = 2, .zero_shift = 7};
    case DType::kQ4_0:
      return {.blocks = 2, .low = 4, .halves = 2, .zero_shift = 3};
    case DType::kQ4_1:
      return {.blocks = 2, .low = 4, .halves = 4, .has_min = true};
    case DType::kQ5_0:
      return {.blocks = 2, .low = 4, .high = 1, .halves = 2, .zero_shift = 4};
    case DType::kQ5_1:
      return {.blocks = 2, .low = 4, .high = 1, .halves = 4, .has_min = true};
    case DType::kIQ4_NL:
      return {.blocks = 2, .low = 4, .halves = 2, .zero_shift = 7, .is_table = true};
    case DType::kQ2_K:  // the nibbles of a byte are s and n
      return {.blocks = 8, .low = 2, .halves = 2, .small = 16, .subs = 2, .has_min = true};
    case DType::kQ3_K:
      return {
          .blocks = 8, .low = 2, .high = 1, .halves = 1, .small = 16, .subs = 2, .zero_shift = 2};
    case DType::kQ4_K:
      return {.blocks = 8, .low = 4, .halves = 2, .small = 16, .has_min = true};
    case DType::kQ5_K:
      return {.blocks = 8, .low = 4, .high = 1, .halves = 2, .small = 16, .has_min = true};
    case DType::kQ6_K:
      return {
          .blocks = 8, .low = 4, .high = 2, .halves = 1, .small = 16, .subs = 2, .zero_shift = 5};
    case DType::kIQ4_XS:
      return {.blocks = 8, .low = 4, .halves = 1, .small = 8, .zero_shift = 7, .is_table = true};
    case DType::kBF16:
    case DType::kF16:
      return {.blocks = 1, .low = 16};
    case DType::kF32:
      return {.blocks = 1, .low = 32};
  }
  std::unreachable();
}

constexpr int64_t panel_groups(tensor::DType dtype, int64_t in) {
  const int elements = panel_layout(dtype).group_elements();
  return (in + elements - 1) / elements;
}

constexpr int64_t panel_bytes(tensor::DType dtype, int64_t in) {
  return panel_groups(dtype, in) * panel_layout(dtype).group_bytes();
}

}  // namespace sluice::kernels
