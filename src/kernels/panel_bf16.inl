// Products of bfloat16 rows with panels. The order of every result's sum, whatever the number of
// rows: pairs of elements ascending, each pair's two products added by one vdpbf16ps. The bias
// comes last.

constexpr int kBf16Rows = 12;
constexpr int kHalves = kPanelColumns / kHalfColumns;
constexpr PanelLayout kBf16Layout = panel_layout(tensor::DType::kBF16);
constexpr int kPairs = kBlockElements / 2;

struct Bf16Task {
  const std::byte* rows;
  const std::byte* weights;
  int64_t groups;
  const std::byte* ahead;  // what to fetch meanwhile: this many lines at each group
  int64_t ahead_lines;
  float* const* y;
  const float* bias;  // of the panel's first column, or null
  int64_t cols;       // real ones of the panel
};

SLUICE_INLINE __m512bh pair_of_row(const std::byte* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
}

template <int R>
SLUICE_INLINE void store_bf16_tile(const Bf16Task& t, const V (&sums)[R][kHalves]) {
  for (int c = 0; c < kHalves; ++c) {
    const int64_t first = c * kLanes;
    const int some = static_cast<int>(std::clamp<int64_t>(t.cols - first, 0, kLanes));
    const V bias = t.bias == nullptr ? zero() : load_some(t.bias + first, some);
    for (int r = 0; r < R; ++r) store_some(t.y[r] + first, sums[r][c] + bias, some);
  }
}

template <int R>
void bf16_tile(const Bf16Task& t) {
  V sums[R][kHalves];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kHalves; ++c) sums[r][c] = zero();
  }
  const std::byte* rows = t.rows;
  const std::byte* group = t.weights;
  const std::byte* ahead = t.ahead;
  for (int64_t g = 0; g < t.groups; ++g) {
    for (int64_t i = 0; i < t.ahead_lines; ++i, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T0);
#pragma clang loop unroll_count(4)
    for (int i = 0; i < kPairs; ++i) {
      __m512bh w[kHalves];
      for (int c = 0; c < kHalves; ++c) {
        const std::byte* plane = group + c * kBf16Layout.half_bytes() + i * kPlaneBytes;
        w[c] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(plane));
      }
      for (int r = 0; r < R; ++r) {
        const __m512bh a = pair_of_row(rows + r * sizeof(Bf16Block) + 4 * i);
        for (int c = 0; c < kHalves; ++c) {
          sums[r][c].v = _mm512_dpbf16_ps(sums[r][c].v, w[c], a);
        }
      }
    }
    group += kBf16Layout.group_bytes();
    rows += R * sizeof(Bf16Block);
  }
  store_bf16_tile<R>(t, sums);
}

template <int... R>
constexpr auto bf16_kernels_by_rows(std::integer_sequence<int, R...>) {
  return std::array{&bf16_tile<R + 1>...};
}
constexpr auto kBf16Kernels = bf16_kernels_by_rows(std::make_integer_sequence<int, kBf16Rows>());

// Weight bytes that one row's product fetches ahead of their use.
constexpr int64_t kBf16FetchDistance = 8192;

void multiply_bf16(const PanelWeights& w, const PackedRows& packed, const MatmulRows& rows,
                   const PanelRange& range) {
  const int64_t groups = w.panel_bytes / kBf16Layout.group_bytes();
  // While the tiles pass over a panel they fetch the next one, each its share.
  const int64_t tiles = range.tile_end - range.tile_begin;
  const int64_t lines = (kBf16Layout.group_bytes() / 64 + tiles - 1) / tiles;
  const int64_t distance = tiles == 1 ? std::min(kBf16FetchDistance, w.panel_bytes) : w.panel_bytes;
  for (int64_t panel = range.panel_begin; panel < range.panel_end; ++panel) {
    const std::byte* weights = w.data + panel * w.panel_bytes;
    const std::byte* ahead = weights + distance;
    const int64_t col = panel * kPanelColumns;
    for (int64_t tile = range.tile_begin; tile < range.tile_end; ++tile) {
      const int64_t first = packed.tiles.first(tile);
      const int height = packed.tiles.height(tile);
      float* y[kBf16Rows];
      for (int r = 0; r < height; ++r) y[r] = rows.y + rows.row(first + r) * w.out + col;
      kBf16Kernels[static_cast<size_t>(height - 1)](
          {.rows = packed.data + first * packed.row_bytes,
           .weights = weights,
           .groups = groups,
           .ahead = ahead,
           .ahead_lines = lines,
           .y = y,
           .bias = rows.bias == nullptr ? nullptr : rows.bias + col,
           .cols = w.out - col});
      ahead += groups * lines * 64;
    }
  }
}

// To nearest, ties to even; subnormal numbers become zero.
void pack_bf16_row(const float* x, int64_t in, std::byte* out, int64_t stride) {
  const int64_t blocks = row_blocks(in);
  for (int64_t b = 0; b < blocks; ++b, out += stride) {
    for (int half = 0; half < 2; ++half) {
      const int64_t k = b * kBlockElements + half * kLanes;
      const int64_t left = std::clamp<int64_t>(in - k, 0, kLanes);
      const V values = load_some(x + std::min(k, in), static_cast<int>(left));
      const __m256bh rounded = _mm512_cvtneps_pbh(values.v);
      std::memcpy(out + half * 2 * kLanes, &rounded, sizeof rounded);
    }
  }
}
