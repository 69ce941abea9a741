// Products of int8 rows with panels. The order of every result's sum, whatever the number of rows:
//
//   for each block, and each part of it with a scale of its own, ascending: the dot product of
//   quants, exact in int32; times the weight's scale, plus its min times the row's own sum; times
//   the row's scale, added to the result by a fused multiply-add. The bias comes last.

template <typename F, int R, int kSub, typename Fetch>
SLUICE_INLINE void add_part(const std::byte* rows, const std::byte* const* halves,
                            const std::byte* const* planes, int block, const std::byte* ahead,
                            FloatSums<R>& sums) {
  constexpr PanelLayout kLayout = F::kLayout;
  IntSums<R> t;
  add_steps<F, R, kSub, Fetch>(rows, planes, ahead, t,
                               std::make_integer_sequence<int, kSteps / kLayout.subs>());
  Scale scale[kTileVectors];
  V min[kTileVectors];
  for (int c = 0; c < kTileVectors; ++c) {
    scale[c] = scale_of(F::scale(halves[c], block, kSub, lane_of(c)));
    if constexpr (kLayout.has_min) min[c] = F::min(halves[c], block, kSub, lane_of(c));
  }
  for (int r = 0; r < R; ++r) {
    const std::byte* at = block_of_row(rows, r);
    const V row_scale = broadcast_float(at + offsetof(Int8Block, scale));
    for (int c = 0; c < kTileVectors; ++c) {
      V part = scaled(t.of(r, c), scale[c]);
      if constexpr (kLayout.has_min) part = fma(min[c], row_sum<kLayout, kSub>(at), part);
      sums.sums[r][c] = fma(part, row_scale, sums.sums[r][c]);
    }
  }
}

template <typename F, int R, typename Fetch>
SLUICE_INLINE void add_block(const std::byte* rows, const std::byte* const* halves, int block,
                             const std::byte* ahead, FloatSums<R>& sums) {
  constexpr PanelLayout kLayout = F::kLayout;
  const std::byte* planes[kTileVectors];
  for (int c = 0; c < kTileVectors; ++c) {
    planes[c] = halves[c] + kLayout.head_bytes() + block * kLayout.planes() * kPlaneBytes;
  }
  add_part<F, R, 0, Fetch>(rows, halves, planes, block, ahead, sums);
  if constexpr (kLayout.subs == 2) {
    add_part<F, R, 1, Fetch>(rows, halves, planes, block, ahead, sums);
  }
}

template <typename F, int R, typename Fetch>
SLUICE_INLINE void add_groups(const TileTask& t, FloatSums<R>& sums) {
  constexpr PanelLayout kLayout = F::kLayout;
  const std::byte* rows = t.rows;
  const std::byte* group = t.weights;
  const std::byte* ahead = t.ahead;
  for (int64_t g = 0; g < t.groups; ++g, group += kLayout.group_bytes()) {
    const std::byte* halves[kTileVectors];
    for (int c = 0; c < kTileVectors; ++c) halves[c] = group + half_of(c) * kLayout.half_bytes();
#pragma clang loop unroll(disable)
    for (int block = 0; block < kLayout.blocks; ++block) {
      Fetch::at_block(ahead, t.ahead_lines, t.fetch_to);
      add_block<F, R, Fetch>(rows, halves, block, ahead, sums);
      rows += R * sizeof(Int8Block);
    }
  }
}

template <typename F, int R>
void multiply_tile(const TileTask& t) {
  FloatSums<R> sums;
  start_tile(t, sums);
  constexpr int kLines = lone_lines(F::kLayout);
  if (F::kSpreadsFetches && is_alone(t, kLines)) {
    using enum FetchTo;
    if (t.fetch_to == kSecondLevel) {
      add_groups<F, R, LoneFetch<kSecondLevel, kLines, kSteps>>(t, sums);
    } else {
      add_groups<F, R, LoneFetch<kPastSecondLevel, kLines, kSteps>>(t, sums);
    }
  } else {
    add_groups<F, R, BlockFetch>(t, sums);
  }
  store_tile(t, sums);
}

// Versions by number of rows, 1 … kPanelRows, at index rows - 1.
using TileKernels = std::array<TileKernel, kPanelRows>;

template <typename F, int... R>
constexpr TileKernels kernels_by_rows(std::integer_sequence<int, R...>) {
  return {&multiply_tile<F, R + 1>...};
}
template <typename F>
constexpr TileKernels kKernels = kernels_by_rows<F>(std::make_integer_sequence<int, kPanelRows>());

// As multiply_panels(), for several tiles.
template <tensor::DType kType>
void multiply_decoded(const PanelWeights& w, const PackedRows& packed, const MatmulRows& rows,
                      const PanelRange& range) {
  constexpr int64_t kGroupBytes = panel_layout(kType).group_bytes();
  constexpr int64_t kBlocks = panel_layout(kType).blocks;
  constexpr int64_t kBlockBytes = Decoded<kType>::kLayout.group_bytes();
  const TileFormat format = {.kernels = kKernels<Decoded<kType>>.data(),
                             .group_bytes = kBlockBytes,
                             .blocks = 1,
                             .row_block_bytes = sizeof(Int8Block)};
  alignas(64) std::byte decoded[kDecodedGroups<kType> * kBlocks * kBlockBytes];
  const int64_t groups = w.panel_bytes / kGroupBytes;
  const int64_t passes = (groups + kDecodedGroups<kType> - 1) / kDecodedGroups<kType>;
  constexpr int kAcross = kPanelColumns / kTileColumns;
  const int64_t shares = (range.tile_end - range.tile_begin) * kAcross * kBlocks;
  for (int64_t panel = range.panel_begin; panel < range.panel_end; ++panel) {
    for (int64_t i = 0; i < passes; ++i) {
      const int64_t first = groups * i / passes, end = groups * (i + 1) / passes;
      const std::byte* from = w.data + panel * w.panel_bytes + first * kGroupBytes;
      const std::byte* behind = from + (end - first) * kGroupBytes;
      const bool is_last = i + 1 == passes;
      const bool ends = is_last && panel + 1 == range.panel_end && range.next != nullptr;
      decode_groups<kType>(from, end - first, decoded);
      pass_over(format,
                {.panel = panel,
                 .weights = decoded,
                 .first_group = first * kBlocks,
                 .groups = (end - first) * kBlocks,
                 .ahead = ends ? range.next : behind,
                 .ahead_lines = (kGroupBytes / 64 + shares - 1) / shares,
                 .ahead_bytes = behind - from,
                 .is_last = is_last},
                w, packed, rows, range);
    }
  }
}

// From so many tiles on, decoding once costs less than each decoding for itself.
constexpr int64_t kTilesToDecode = 16;

template <tensor::DType kType>
void multiply_as(const PanelWeights& w, const PackedRows& packed, const MatmulRows& rows,
                 const PanelRange& range) {
  constexpr PanelLayout kLayout = panel_layout(kType);
  // Q8_0 is stored as it is used.
  if constexpr (kType != tensor::DType::kQ8_0) {
    if (range.tile_end - range.tile_begin >= kTilesToDecode) {
      return multiply_decoded<kType>(w, packed, rows, range);
    }
  }
  multiply_panels({.kernels = kKernels<PanelFormat<kType>>.data(),
                   .group_bytes = kLayout.group_bytes(),
                   .blocks = kLayout.blocks,
                   .row_block_bytes = sizeof(Int8Block)},
                  w, packed, rows, range);
}

void multiply_int8(const PanelWeights& w, const PackedRows& packed, const MatmulRows& rows,
                   const PanelRange& range) {
  using tensor::DType;
  switch (w.dtype) {
    case DType::kQ8_0:
      return multiply_as<DType::kQ8_0>(w, packed, rows, range);
    case DType::kQ4_0:
      return multiply_as<DType::kQ4_0>(w, packed, rows, range);
    case DType::kQ4_1:
      return multiply_as<DType::kQ4_1>(w, packed, rows, range);
    case DType::kQ5_0:
      return multiply_as<DType::kQ5_0>(w, packed, rows, range);
    case DType::kQ5_1:
      return multiply_as<DType::kQ5_1>(w, packed, rows, range);
    case DType::kQ2_K:
      return multiply_as<DType::kQ2_K>(w, packed, rows, range);
    case DType::kQ3_K:
      return multiply_as<DType::kQ3_K>(w, packed, rows, range);
    case DType::kQ4_K:
      return multiply_as<DType::kQ4_K>(w, packed, rows, range);
    case DType::kQ5_K:
      return multiply_as<DType::kQ5_K>(w, packed, rows, range);
    case DType::kQ6_K:
      return multiply_as<DType::kQ6_K>(w, packed, rows, range);
    case DType::kIQ4_NL:
      return multiply_as<DType::kIQ4_NL>(w, packed, rows, range);
    case DType::kIQ4_XS:
      return multiply_as<DType::kIQ4_XS>(w, packed, rows, range);
    default:
      SLUICE_CHECK(false, "a type that has int8 panels");
  }
}
