// Products of rows with panels of BF16, F16 or F32. The order of every result's sum, whatever the
// number of rows: pairs of elements ascending, each pair's two products added by one dot(). The
// bias comes last.

constexpr int kPairs = kBlockElements / 2;
constexpr size_t kRowBlockBytes = row_block_bytes(kRowKind);
constexpr size_t kRowElementBytes = kRowBlockBytes / kBlockElements;

// How the pairs of a type lie: see panel_layout.h.
template <tensor::DType kType>
struct PairLayout {
  static constexpr PanelLayout kPanel = panel_layout(kType);
  static constexpr int kPairBytes = kPanel.planes() / kPairs * kPlaneBytes;
  static constexpr int kColumnBytes = kType == tensor::DType::kF16 ? 2 : 4;

  // Of the tile's vector `c`: its first pair.
  static constexpr int offset(int c) {
    return half_of(c) * kPanel.half_bytes() + lane_of(c) * kColumnBytes;
  }
};

// A result's products follow on each other: of one or two rows, columns that are half a panel are
// too few to keep a core busy meanwhile.
constexpr int kWideRows = 2;
constexpr int vectors_of(int rows) {
  return rows <= kWideRows ? kPanelColumns / kLanes : kTileVectors;
}

template <tensor::DType kType, typename Fetch, int R, int C>
SLUICE_INLINE void add_groups(const TileTask& t, FloatSums<R, C>& s) {
  using Layout = PairLayout<kType>;
  const std::byte* rows = t.rows;
  const std::byte* group = t.weights;
  const std::byte* ahead = t.ahead;
  for (int64_t g = 0; g < t.groups; ++g) {
    Fetch::at_block(ahead, t.ahead_lines, t.fetch_to);
#pragma clang loop unroll_count(4)
    for (int i = 0; i < kPairs; ++i) {
      Fetch::at_step(ahead, i);
      Pairs w[C];
      for (int c = 0; c < C; ++c) {
        w[c] = load_pairs<kType>(group + Layout::offset(c) + i * Layout::kPairBytes);
      }
      for (int r = 0; r < R; ++r) {
        const Pairs a = broadcast_pair(rows + static_cast<size_t>(r) * kRowBlockBytes +
                                       2 * kRowElementBytes * static_cast<size_t>(i));
        for (int c = 0; c < C; ++c) s.sums[r][c] = dot(s.sums[r][c], w[c], a);
      }
    }
    group += Layout::kPanel.group_bytes();
    rows += R * kRowBlockBytes;
  }
}

template <tensor::DType kType, int R>
void multiply_tile(const TileTask& t) {
  constexpr PanelLayout kPanel = PairLayout<kType>::kPanel;
  constexpr int kVectors = vectors_of(R);
  constexpr int kLines = lone_lines(kPanel, kVectors * kLanes);
  FloatSums<R, kVectors> s;
  start_tile(t, s);
  if (is_alone(t, kLines)) {
    using enum FetchTo;
    if (t.fetch_to == kSecondLevel) {
      add_groups<kType, LoneFetch<kSecondLevel, kLines, kPairs>>(t, s);
    } else {
      add_groups<kType, LoneFetch<kPastSecondLevel, kLines, kPairs>>(t, s);
    }
  } else {
    add_groups<kType, BlockFetch>(t, s);
  }
  store_tile(t, s);
}

template <tensor::DType kType, int... R>
constexpr auto kernels_by_rows(std::integer_sequence<int, R...>) {
  return std::array{&multiply_tile<kType, R + 1>...};
}
template <tensor::DType kType>
constexpr auto kKernels = kernels_by_rows<kType>(std::make_integer_sequence<int, kPanelRows>());

template <tensor::DType kType>
void multiply_floats(const PanelWeights& w, const PackedRows& packed, const MatmulRows& rows,
                     const PanelRange& range) {
  constexpr PanelLayout kPanel = PairLayout<kType>::kPanel;
  multiply_panels({.kernels = kKernels<kType>.data(),
                   .group_bytes = kPanel.group_bytes(),
                   .blocks = kPanel.blocks,
                   .row_block_bytes = kRowBlockBytes,
                   .wide_rows = kWideRows},
                  w, packed, rows, range);
}

// As kRowKind has them; the BF16 dot() takes subnormal numbers for zero.
void pack_row(const float* x, int64_t in, std::byte* out, int64_t stride) {
  const int64_t blocks = row_blocks(in);
  for (int64_t b = 0; b < blocks; ++b, out += stride) {
    for (int i = 0; i < kBlockElements / kLanes; ++i) {
      const int64_t k = b * kBlockElements + i * kLanes;
      const int64_t left = std::clamp<int64_t>(in - k, 0, kLanes);
      const V values = load_some(x + std::min(k, in), static_cast<int>(left));
      store_elements(out + static_cast<size_t>(i * kLanes) * kRowElementBytes, values);
    }
  }
}

template <tensor::DType kType>
constexpr PanelOps float_ops() {
  return {.row_kind = kRowKind,
          .tile_rows = kPanelRows,
          .pack_row = pack_row,
          .multiply = multiply_floats<kType>};
}
