// Products with weights repacked into panels (panel_layout.h), and what an instruction set
// implements of them.
//
// The rows of a product are packed first, once for all matrices that share them: to int8 with a
// scale per 32 elements, to bfloat16, or as they are. Packed rows lie in tiles of nearly equal
// height; block b of row r of a tile of R rows is number b * R + r, so that a tile is one stream.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/op_table.h"
#include "kernels/panel_layout.h"

namespace sluice::kernels {

// How rows are packed. int8, by block of 32 elements: x = scale * q, scale = max |x| * (1 / 127),
// q = round(x * (127 / max |x|)), ties to even. A block that holds a NaN or an infinity has scale
// NaN; one whose largest is below 1e-30 is zero. bfloat16: to nearest, ties to even.
enum class RowKind : uint8_t { kInt8, kBf16, kF32 };

inline constexpr float kTinyRow = 1e-30F;
inline constexpr float kRowScale = 1.0F / 127.0F;

// One block of an int8 row. Dot products begin with what store_sums() makes of the sums of q, which
// takes the weights' zero points off.
struct Int8Block {
  int8_t q[kBlockElements];
  float scale;
  int32_t sum;      // over all elements
  int32_t half[2];  // over the first and the last 16
};
static_assert(sizeof(Int8Block) == 48);

// Where that of a part of a block lies, of one or two.
constexpr size_t sum_offset(int parts, int part) {
  return parts == 1 ? offsetof(Int8Block, sum)
                    : offsetof(Int8Block, half) + static_cast<size_t>(part) * sizeof(int32_t);
}

constexpr int64_t row_block_bytes(RowKind kind) {
  switch (kind) {
    case RowKind::kInt8:
      return sizeof(Int8Block);
    case RowKind::kBf16:
      return kBlockElements * int64_t{sizeof(uint16_t)};
    case RowKind::kF32:
      return kBlockElements * int64_t{sizeof(float)};
  }
  return 0;
}

// Blocks of a packed row: an even number, since the groups of some layouts hold two.
constexpr int64_t row_blocks(int64_t in) { return (in + 63) / 64 * 2; }

// Cuts rows into tiles of at most `most` rows and nearly equal height.
struct RowTiles {
  int64_t rows = 0;
  int64_t count = 0;

  static RowTiles of(int64_t rows, int most) { return {rows, (rows + most - 1) / most}; }
  int64_t first(int64_t i) const { return rows * i / count; }
  int height(int64_t i) const { return static_cast<int>(first(i + 1) - first(i)); }
  int64_t of_row(int64_t row) const { return ((row + 1) * count - 1) / rows; }
};

struct PackedRows {
  const std::byte* data;
  RowTiles tiles;
  int64_t row_bytes;  // tile i starts at data + tiles.first(i) * row_bytes
};

struct PanelWeights {
  tensor::DType dtype;
  const std::byte* data;
  int64_t out;
  int64_t in;
  int64_t panel_bytes;
};

struct PanelRange {
  int64_t tile_begin;
  int64_t tile_end;
  int64_t panel_begin;
  int64_t panel_end;
  // Weights that are read after these, to be fetched in time; null: those behind them.
  const std::byte* next = nullptr;
};

// Up to so many, tall tiles are taller still.
inline constexpr int64_t kFewRows = 64;

// What an instruction set does with panels of some types.
struct PanelOps {
  RowKind row_kind = RowKind::kInt8;
  int tile_rows = 0;  // the highest tile
  // The same for CoreHabits::tall_tiles: of many rows, and of kFewRows or less.
  int tall_tile_rows = tile_rows;
  int few_tile_rows = tile_rows;
  // Packs one row: its blocks go to out, out + stride, …
  void (*pack_row)(const float* x, int64_t in, std::byte* out, int64_t stride) = nullptr;
  // The results of the tiles' rows in the panels' columns; rows.x is not read.
  void (*multiply)(const PanelWeights& w, const PackedRows& packed, const MatmulRows& rows,
                   const PanelRange& range) = nullptr;

  // How high the tiles of so many rows may be.
  int tile_rows_of(int64_t rows) const {
    if (!core_habits().tall_tiles) return tile_rows;
    return rows <= kFewRows ? few_tile_rows : tall_tile_rows;
  }
};

struct PanelTable {
  PanelOps quantized;
  PanelOps bf16;
  PanelOps f16;
  PanelOps f32;

  const PanelOps& of(tensor::DType dtype) const {
    switch (dtype) {
      case tensor::DType::kBF16:
        return bf16;
      case tensor::DType::kF16:
        return f16;
      case tensor::DType::kF32:
        return f32;
      default:
        return quantized;
    }
  }
};

// nullptr: the reference, which uses weights as they are stored.
const PanelTable* panel_table(Isa isa);

// Without quantized ones, which the tables of an architecture share.
const PanelTable& avx2_float_panels();
const PanelTable& neon_float_panels();

const PanelTable& avx2_panels();
const PanelTable& avx_vnni_panels();
const PanelTable& avx512_panels();
const PanelTable& avx512_vnni_panels();
const PanelTable& avx512_bf16_panels();
const PanelTable& neon_panels();
const PanelTable& neon_dotprod_panels();
const PanelTable& neon_i8mm_panels();
const PanelTable& neon_bf16_panels();

// Repacks columns [panel * kPanelColumns, …) of `w` into `out`, of panel_bytes().
void pack_panel(const WeightRows& w, int64_t panel, std::byte* out);

}  // namespace sluice::kernels
