// Products with stored weights. The order of every sum, whatever the number of rows:
//
//   one vector accumulator per result, k ascending in steps of kLanes, one fused multiply-add a
//   step; then sum_lanes().
//
// Few rows decode weights into registers and use them at once; many decode a panel of columns into
// scratch and pass over it in tiles of kTileRows rows × 4 columns. Both follow the order above with
// equal weight values, so their results are equal bit for bit.

constexpr int kTileCols = 4;
// Up to this many rows stay in the second-level cache while weights pass by once.
constexpr int64_t kFewRows = 24;

// Decoded weights that tiles of rows pass over: a panel wide and flat enough to stay in the
// first-level cache beside a tile's rows. Its depth is a multiple of every kSuper.
constexpr int64_t kDecodedCols = 8;
constexpr int64_t kDecodedDepth = 512;

// How far ahead of its use a weight is asked for when few rows stream through memory.
constexpr int64_t kPrefetchBytes = 6144;

template <int R>
struct Tile {
  V sums[R][kTileCols];
};

template <int R>
SLUICE_INLINE void clear(Tile<R>& t) {
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kTileCols; ++c) t.sums[r][c] = zero();
  }
}

// Where a tile's rows come from and go to.
struct TileRows {
  const float* x[kTileRows];
  float* y[kTileRows];
};

SLUICE_INLINE TileRows tile_rows(const WeightRows& w, const MatmulRows& rows, int64_t first,
                                 int count) {
  TileRows t;
  for (int r = 0; r < kTileRows; ++r) {
    const int64_t row = first + std::min(r, count - 1);
    t.x[r] = rows.x + rows.row(row) * w.in;
    t.y[r] = rows.y + row * w.out;
  }
  return t;
}

// Columns [col, col + cols) of the tile's rows; the last ones may repeat and are not stored.
template <int R>
SLUICE_INLINE void finish(const Tile<R>& t, const TileRows& rows, const float* bias, int64_t col,
                          int cols) {
  alignas(16) float four[kTileCols] = {};
  if (bias != nullptr) {
    for (int c = 0; c < cols; ++c) four[c] = bias[col + c];
  }
  const Four offset = load_four(four);
  for (int r = 0; r < R; ++r) {
    const Four sums =
        sum_lanes(t.sums[r][0], t.sums[r][1], t.sums[r][2], t.sums[r][3]) + offset;
    if (cols == kTileCols) {
      store_four(rows.y[r] + col, sums);
    } else {
      store_four(four, sums);
      for (int c = 0; c < cols; ++c) rows.y[r][col + c] = four[c];
    }
  }
}

// The four weight rows of a group of columns, the last one repeated beyond the end.
struct ColumnGroup {
  const std::byte* w[kTileCols];
  int count;
};

SLUICE_INLINE ColumnGroup column_group(const WeightRows& w, int64_t col, int64_t col_end) {
  ColumnGroup g;
  g.count = static_cast<int>(std::min<int64_t>(kTileCols, col_end - col));
  for (int c = 0; c < kTileCols; ++c) {
    g.w[c] = w.data + (col + std::min(c, g.count - 1)) * w.row_bytes;
  }
  return g;
}

// Adds the elements after the last whole block.
template <typename F, int R>
SLUICE_INLINE void add_rest(const ColumnGroup& g, const TileRows& rows, int64_t in, Tile<R>& t) {
  for (int64_t k = in / F::kSuper * F::kSuper; k < in; k += kLanes) {
    const int some = static_cast<int>(std::min<int64_t>(kLanes, in - k));
    for (int c = 0; c < kTileCols; ++c) {
      const V w = F::decode_some(g.w[c], k, some);
      for (int r = 0; r < R; ++r) {
        t.sums[r][c] = fma(load_some(rows.x[r] + k, some), w, t.sums[r][c]);
      }
    }
  }
}

// Asks for memory that is needed soon; any address will do.
SLUICE_INLINE void prefetch(const std::byte* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 3);
}

// R rows × 4 columns, decoded in registers. Meanwhile the columns `ahead` bytes on are fetched.
template <typename F, int R>
void group_times_rows(const ColumnGroup& g, const TileRows& at, int64_t in, const float* bias,
                      int64_t col, int64_t ahead) {
  constexpr int kPieces = F::kSuper / F::kPiece, kVectors = F::kPiece / kLanes;
  constexpr int64_t kSuperBytes = F::kSuperBytes;
  const int64_t supers = in / F::kSuper;
  Tile<R> t;
  clear(t);
  for (int64_t i = 0; i < supers; ++i) {
    for (int c = 0; c < kTileCols; ++c) {
      const typename F::State state = F::open(g.w[c], i);
      prefetch(g.w[c] + ahead + i * kSuperBytes, kSuperBytes);
      for (int piece = 0; piece < kPieces; ++piece) {
        const int64_t k = i * F::kSuper + piece * F::kPiece;
        V decoded[kVectors];
        F::decode(state, piece, decoded);
        for (int v = 0; v < kVectors; ++v) {
          for (int r = 0; r < R; ++r) {
            t.sums[r][c] = fma(load(at.x[r] + k + v * kLanes), decoded[v], t.sums[r][c]);
          }
        }
      }
    }
  }
  add_rest<F, R>(g, at, in, t);
  finish(t, at, bias, col, g.count);
}

// Versions by number of rows, 1 … kTileRows, at index rows - 1.
template <typename F, int... R>
constexpr auto groups_by_rows(std::integer_sequence<int, R...>) {
  return std::array{&group_times_rows<F, R + 1>...};
}
template <typename F>
constexpr auto kGroupTimesRows = groups_by_rows<F>(std::make_integer_sequence<int, kTileRows>());

// Cuts rows into tiles of nearly equal height: a last one of one row would waste most of its loads.
struct RowTiles {
  int64_t begin;
  int64_t rows;
  int64_t count;

  SLUICE_INLINE int64_t first(int64_t i) const { return begin + rows * i / count; }
  SLUICE_INLINE int height(int64_t i) const { return static_cast<int>(first(i + 1) - first(i)); }
};

SLUICE_INLINE RowTiles row_tiles(const MatmulTile& tile) {
  const int64_t rows = tile.row_end - tile.row_begin;
  return {tile.row_begin, rows, (rows + kTileRows - 1) / kTileRows};
}

template <typename F>
void few_rows(const WeightRows& w, const MatmulRows& rows, const MatmulTile& tile) {
  // The next groups of columns, far enough ahead for memory's latency.
  const int64_t group_bytes = kTileCols * w.row_bytes;
  const int64_t ahead = (kPrefetchBytes / group_bytes + 1) * group_bytes;
  const RowTiles tiles = row_tiles(tile);
  for (int64_t col = tile.col_begin; col < tile.col_end; col += kTileCols) {
    const ColumnGroup g = column_group(w, col, tile.col_end);
    for (int64_t i = 0; i < tiles.count; ++i) {
      const int height = tiles.height(i);
      kGroupTimesRows<F>[static_cast<size_t>(height - 1)](
          g, tile_rows(w, rows, tiles.first(i), height), w.in, rows.bias, col, ahead);
    }
  }
}

// Decodes elements [k, k + depth) of a group of columns: for each vector of k, four vectors, one a
// column. Elements past the end are zero.
template <typename F>
void decode_panel(const ColumnGroup& g, int64_t k, int64_t depth, float* panel) {
  constexpr int kPieces = F::kSuper / F::kPiece, kVectors = F::kPiece / kLanes;
  constexpr int64_t kStep = kTileCols * kLanes;
  const int64_t supers = depth / F::kSuper;
  for (int c = 0; c < kTileCols; ++c) {
    float* to = panel + c * kLanes;
    for (int64_t i = 0; i < supers; ++i) {
      const typename F::State state = F::open(g.w[c], k / F::kSuper + i);
      for (int piece = 0; piece < kPieces; ++piece) {
        V decoded[kVectors];
        F::decode(state, piece, decoded);
        for (int v = 0; v < kVectors; ++v, to += kStep) store(to, decoded[v]);
      }
    }
    for (int64_t i = supers * F::kSuper; i < depth; i += kLanes, to += kStep) {
      const int some = static_cast<int>(std::min<int64_t>(kLanes, depth - i));
      store(to, F::decode_some(g.w[c], k + i, some));
    }
  }
}

// t += a · the panel's vectors at one step of k.
template <int R>
SLUICE_INLINE void multiply_step(const V* a, const float* panel, Tile<R>& t) {
  V w[kTileCols];
  for (int c = 0; c < kTileCols; ++c) w[c] = load(panel + c * kLanes);
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kTileCols; ++c) t.sums[r][c] = fma(a[r], w[c], t.sums[r][c]);
  }
}

// Two columns of weights that the next panel will decode: fetched a little at every step.
struct Ahead {
  const std::byte* columns[2];
  int64_t step_bytes;
};

// t += x[r][0 … depth) · panel.
template <int R>
SLUICE_INLINE void multiply(const float* const* x, int64_t depth, const float* panel, Ahead ahead,
                            Tile<R>& t) {
  const int64_t whole = depth / kLanes * kLanes;
  V a[R];
  for (int64_t k = 0; k < whole; k += kLanes) {
    for (const std::byte*& column : ahead.columns) {
      __builtin_prefetch(column, 0, 2);
      column += ahead.step_bytes;
    }
    for (int r = 0; r < R; ++r) a[r] = load(x[r] + k);
    multiply_step(a, panel + k * kTileCols, t);
  }
  if (whole < depth) {
    const int some = static_cast<int>(depth - whole);
    for (int r = 0; r < R; ++r) a[r] = load_some(x[r] + whole, some);
    multiply_step(a, panel + whole * kTileCols, t);
  }
}

// One pass over a panel: all its groups of columns, elements [k, k + depth) of the rows.
struct PanelPass {
  const float* panel;
  int64_t group_floats;  // of the panel
  int64_t k;
  int64_t depth;
  bool is_first;
  bool is_last;
  int64_t col_begin;
  int64_t col_end;
  const float* bias;
  const std::byte* next;  // the next panel's first column
  int64_t row_bytes;
  int64_t step_bytes;  // weight bytes of kLanes elements

  // Row tiles 0 and 1 fetch two columns of each group for the next panel; later ones find nothing
  // left to do and ask for what is there.
  SLUICE_INLINE Ahead ahead(int64_t row_tile, int64_t col) const {
    const int64_t column = col - col_begin + row_tile % 2 * 2;
    const std::byte* first = next + column * row_bytes;
    return row_tile < 2 ? Ahead{{first, first + row_bytes}, step_bytes} : Ahead{{first, first}, 0};
  }
};

// A tile's accumulators between two passes.
constexpr int64_t kTileFloats = int64_t{kTileRows} * kTileCols * kLanes;

template <int R>
void pass_over(const PanelPass& p, const TileRows& at, int64_t row_tile, float* kept) {
  const float* x[R];
  for (int r = 0; r < R; ++r) x[r] = at.x[r] + p.k;
  const float* panel = p.panel;
  for (int64_t col = p.col_begin; col < p.col_end; col += kTileCols) {
    Tile<R> t;
    if (p.is_first) {
      clear(t);
    } else {
      for (int i = 0; i < R * kTileCols; ++i) {
        t.sums[i / kTileCols][i % kTileCols] = load(kept + i * kLanes);
      }
    }
    multiply<R>(x, p.depth, panel, p.ahead(row_tile, col), t);
    if (p.is_last) {
      finish(t, at, p.bias, col, static_cast<int>(std::min<int64_t>(kTileCols, p.col_end - col)));
    } else {
      for (int i = 0; i < R * kTileCols; ++i) {
        store(kept + i * kLanes, t.sums[i / kTileCols][i % kTileCols]);
      }
    }
    if (!(p.is_first && p.is_last)) kept += kTileFloats;
    panel += p.group_floats;
  }
}

template <int... R>
constexpr auto passes_by_rows(std::integer_sequence<int, R...>) {
  return std::array{&pass_over<R + 1>...};
}
constexpr auto kPasses = passes_by_rows(std::make_integer_sequence<int, kTileRows>());

// Weight bytes of kLanes elements, rounded down: a rate of fetching ahead.
template <typename F>
constexpr int64_t kStepBytes = int64_t{F::kSuperBytes} * kLanes / F::kSuper;

// All rows against the columns [p.col_begin, p.col_end), whose depth fits one panel.
template <typename F>
void panel_times_rows(const WeightRows& w, const MatmulRows& rows, const MatmulTile& tile,
                      const PanelPass& p, float* panel, float* kept) {
  const int64_t groups = (p.col_end - p.col_begin + kTileCols - 1) / kTileCols;
  for (int64_t g = 0; g < groups; ++g) {
    decode_panel<F>(column_group(w, p.col_begin + g * kTileCols, p.col_end), p.k, p.depth,
                    panel + g * p.group_floats);
  }
  const RowTiles tiles = row_tiles(tile);
  for (int64_t i = 0; i < tiles.count; ++i) {
    const int height = tiles.height(i);
    kPasses[static_cast<size_t>(height - 1)](p, tile_rows(w, rows, tiles.first(i), height), i,
                                             kept + i * groups * kTileFloats);
  }
}

template <typename F>
void many_rows(const WeightRows& w, const MatmulRows& rows, const MatmulTile& tile) {
  const int64_t depth = std::min((w.in + kLanes - 1) / kLanes * kLanes, kDecodedDepth);
  const int64_t group_floats = depth * kTileCols, groups = kDecodedCols / kTileCols;
  const int64_t kept_floats = w.in > depth ? row_tiles(tile).count * groups * kTileFloats : 0;
  float* panel = thread_scratch(static_cast<size_t>(groups * group_floats + kept_floats));
  for (int64_t col = tile.col_begin; col < tile.col_end; col += kDecodedCols) {
    for (int64_t k = 0; k < w.in; k += depth) {
      const bool is_last = k + depth >= w.in;
      const int64_t next_col = is_last ? col + kDecodedCols : col;
      const int64_t next_k = is_last ? 0 : k + depth;
      panel_times_rows<F>(
          w, rows, tile,
          {.panel = panel,
           .group_floats = group_floats,
           .k = k,
           .depth = std::min(depth, w.in - k),
           .is_first = k == 0,
           .is_last = is_last,
           .col_begin = col,
           .col_end = std::min(col + kDecodedCols, tile.col_end),
           .bias = rows.bias,
           .next = w.data + next_col * w.row_bytes + next_k / F::kSuper * F::kSuperBytes,
           .row_bytes = w.row_bytes,
           .step_bytes = kStepBytes<F>},
          panel, panel + groups * group_floats);
    }
  }
}

// Floats cost little to decode, so that a few tiles do it each for themselves.
template <typename F>
void matmul_as(const WeightRows& w, const MatmulRows& rows, const MatmulTile& tile) {
  const int64_t count = tile.row_end - tile.row_begin;
  if (count <= kFewRows) return few_rows<F>(w, rows, tile);
  many_rows<F>(w, rows, tile);
}

void matmul(const WeightRows& w, const MatmulRows& rows, const MatmulTile& tile) {
  using tensor::DType;
  switch (w.dtype) {
    case DType::kF32:
      return matmul_as<F32Format>(w, rows, tile);
    case DType::kF16:
      return matmul_as<F16Format>(w, rows, tile);
    case DType::kBF16:
      return matmul_as<BF16Format>(w, rows, tile);
    default:
      SLUICE_CHECK(false, "other types are used as panels");
  }
}
