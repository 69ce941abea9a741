// Products of rows with panels of BF16 or F16. The order of every result's sum, whatever the number
// of rows: pairs of elements ascending, each pair's two products added by one dot(). The bias comes
// last.

// Of both types.
constexpr PanelLayout kPairLayout = panel_layout(tensor::DType::kBF16);
constexpr int kPairs = kBlockElements / 2;
constexpr size_t kRowBlockBytes = row_block_bytes(kRowKind);
constexpr size_t kRowElementBytes = kRowBlockBytes / kBlockElements;

template <tensor::DType kType, int R, typename Fetch>
SLUICE_INLINE void add_groups(const TileTask& t, FloatSums<R>& s) {
  const std::byte* rows = t.rows;
  const std::byte* group = t.weights;
  const std::byte* ahead = t.ahead;
  for (int64_t g = 0; g < t.groups; ++g) {
    Fetch::at_block(ahead, t.ahead_lines, t.fetch_to);
#pragma clang loop unroll_count(4)
    for (int i = 0; i < kPairs; ++i) {
      Fetch::at_step(ahead, i);
      Pairs w[kTileVectors];
      for (int c = 0; c < kTileVectors; ++c) {
        const int offset = half_of(c) * kPairLayout.half_bytes() + 4 * lane_of(c);
        w[c] = load_pairs<kType>(group + offset + i * kPlaneBytes);
      }
      for (int r = 0; r < R; ++r) {
        const Pairs a = broadcast_pair(rows + static_cast<size_t>(r) * kRowBlockBytes +
                                       2 * kRowElementBytes * static_cast<size_t>(i));
        for (int c = 0; c < kTileVectors; ++c) s.sums[r][c] = dot(s.sums[r][c], w[c], a);
      }
    }
    group += kPairLayout.group_bytes();
    rows += R * kRowBlockBytes;
  }
}

template <tensor::DType kType, int R>
void multiply_tile(const TileTask& t) {
  FloatSums<R> s;
  start_tile(t, s);
  if (is_alone(t, kPairLayout)) {
    using enum FetchTo;
    constexpr int kLines = lone_lines(kPairLayout);
    if (t.fetch_to == kSecondLevel) {
      add_groups<kType, R, LoneFetch<kSecondLevel, kLines, kPairs>>(t, s);
    } else {
      add_groups<kType, R, LoneFetch<kPastSecondLevel, kLines, kPairs>>(t, s);
    }
  } else {
    add_groups<kType, R, BlockFetch>(t, s);
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
  multiply_panels({.kernels = kKernels<kType>.data(),
                   .group_bytes = kPairLayout.group_bytes(),
                   .blocks = kPairLayout.blocks,
                   .row_block_bytes = kRowBlockBytes},
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
