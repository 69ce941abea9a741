// A tile of rows against a panel: what the kernels of all formats share, and the loops around them.

constexpr int kTileColumns = kTileVectors * kLanes;

// How near fetched lines come.
enum class FetchTo {
  kFirstLevel,
  kSecondLevel,
  kPastSecondLevel,  // the first level only
};

// One tile of rows against the columns of one panel, or of half of it; all groups or some of them.
struct TileTask {
  const std::byte* rows;
  const std::byte* weights;  // the first half group to read
  int64_t groups;
  const std::byte* ahead;  // what to fetch meanwhile: this many lines at each block
  int64_t ahead_lines;
  bool reads_once;  // no other tile passes over the same weights
  FetchTo fetch_to;
  float* const* y;    // where the rows' results begin
  const float* bias;  // of the first column, or null
  int64_t cols;       // real ones
  bool resumes;       // y holds the sums of the groups before
};

// Which half of a panel a vector of the tile lies in, and its first column there.
constexpr int half_of(int vector) { return vector * kLanes / kHalfColumns; }
constexpr int lane_of(int vector) { return vector * kLanes % kHalfColumns; }

using TileKernel = void (*)(const TileTask&);

// A result's sum as it grows.
template <int R, int C = kTileVectors>
struct FloatSums {
  V sums[R][C];
};

SLUICE_INLINE int real_lanes(const TileTask& t, int vector) {
  return static_cast<int>(std::clamp<int64_t>(t.cols - vector * kLanes, 0, kLanes));
}

// Unrolled early enough, here and below, for the sums to become registers.
template <int R, int C>
SLUICE_INLINE void start_tile(const TileTask& t, FloatSums<R, C>& s) {
#pragma clang loop unroll(full)
  for (int c = 0; c < C; ++c) {
    for (int r = 0; r < R; ++r) s.sums[r][c] = zero();
    if (!t.resumes) continue;
    for (int r = 0; r < R; ++r) s.sums[r][c] = load_some(t.y[r] + c * kLanes, real_lanes(t, c));
  }
}

template <int R, int C>
SLUICE_INLINE void store_tile(const TileTask& t, const FloatSums<R, C>& s) {
#pragma clang loop unroll(full)
  for (int c = 0; c < C; ++c) {
    const int some = real_lanes(t, c);
    if (t.bias == nullptr) {
      for (int r = 0; r < R; ++r) store_some(t.y[r] + c * kLanes, s.sums[r][c], some);
      continue;
    }
    const V bias = load_some(t.bias + c * kLanes, some);
    for (int r = 0; r < R; ++r) store_some(t.y[r] + c * kLanes, s.sums[r][c] + bias, some);
  }
}

template <FetchTo kTo>
SLUICE_INLINE void fetch_line(const std::byte* p) {
  if constexpr (kTo == FetchTo::kFirstLevel) __builtin_prefetch(p, 0, 3);
  if constexpr (kTo == FetchTo::kSecondLevel) __builtin_prefetch(p, 0, 2);
  if constexpr (kTo == FetchTo::kPastSecondLevel) __builtin_prefetch(p, 0, 0);
}

// Fetching what is read next, at the begin of each block.
struct BlockFetch {
  SLUICE_INLINE static void at_block(const std::byte*& p, int64_t lines, FetchTo to) {
    if (to == FetchTo::kFirstLevel) return fetch<FetchTo::kFirstLevel>(p, lines);
    if (to == FetchTo::kSecondLevel) return fetch<FetchTo::kSecondLevel>(p, lines);
    fetch<FetchTo::kPastSecondLevel>(p, lines);
  }
  SLUICE_INLINE static void at_step(const std::byte*, int) {}

 private:
  template <FetchTo kTo>
  SLUICE_INLINE static void fetch(const std::byte*& p, int64_t lines) {
    for (int64_t i = 0; i < lines; ++i, p += 64) fetch_line<kTo>(p);
  }
};

// The same of a tile that reads its weights alone, which are a whole block's lines, spread over the
// block's kOf steps. Asked for at once they fill what a core may have under way, and its own loads
// wait behind them: spread, a BF16 step of one stream is 7 % shorter, one of eight 18 to 30 %.
template <FetchTo kTo, int kLines, int kOf>
struct LoneFetch {
  SLUICE_INLINE static void at_block(const std::byte*& p, int64_t, FetchTo) { p += 64 * kLines; }
  // `p` is where at_block() left it.
  SLUICE_INLINE static void at_step(const std::byte* p, int step) {
    p -= 64 * kLines;
#pragma clang loop unroll(full)
    for (int i = 0; i < kEach; ++i) fetch_line<kTo>(p + 64 * (kEach * step + i));
    if (step < kRest) fetch_line<kTo>(p + 64 * (kEach * kOf + step));
  }

 private:
  static constexpr int kEach = kLines / kOf;
  static constexpr int kRest = kLines % kOf;
};

// What kLines is.
constexpr int lone_lines(const PanelLayout& layout, int columns = kTileColumns) {
  const int shares = kPanelColumns / columns * layout.blocks;
  return (layout.group_bytes() / 64 + shares - 1) / shares;
}

// Whether it is one.
SLUICE_INLINE bool is_alone(const TileTask& t, int64_t lone_lines) {
  return t.reads_once && t.ahead_lines == lone_lines;
}

// What the loops know of a format.
struct TileFormat {
  const TileKernel* kernels;  // by height - 1
  int64_t group_bytes;
  int64_t blocks;  // of rows in a group
  int64_t row_block_bytes;
  int wide_rows = 0;  // tiles of up to so many rows are a panel wide

  SLUICE_INLINE int columns(int height) const {
    return height <= wide_rows ? kPanelColumns : kTileColumns;
  }
};

// Weights that many tiles pass over before the next ones: they stay in the first-level cache.
constexpr int64_t kPassBytes = 32 << 10;

// Some groups of a panel, over which all tiles of a task pass.
struct Pass {
  int64_t panel;
  const std::byte* weights;
  int64_t first_group;
  int64_t groups;
  const std::byte* ahead;
  int64_t ahead_lines;
  int64_t ahead_bytes;  // of which so many are wanted
  bool is_last;
};

SLUICE_INLINE void pass_over(const TileFormat& format, const Pass& pass, const PanelWeights& w,
                             const PackedRows& packed, const MatmulRows& rows,
                             const PanelRange& range) {
  const std::byte* ahead = pass.ahead;
  const std::byte* ahead_end = ahead + pass.ahead_bytes;
  const bool reads_once = range.tile_end - range.tile_begin == 1;
  const FetchTo to = !core_habits().past_second_level ? FetchTo::kSecondLevel
                     : reads_once                     ? FetchTo::kPastSecondLevel
                                                      : FetchTo::kFirstLevel;
  const int64_t fetched = pass.groups * format.blocks * pass.ahead_lines * 64;
  for (int64_t tile = range.tile_begin; tile < range.tile_end; ++tile) {
    const int64_t first = packed.tiles.first(tile);
    const int height = packed.tiles.height(tile);
    const int64_t skipped = pass.first_group * format.blocks * format.row_block_bytes * height;
    const int columns = format.columns(height);
    for (int at = 0; at < kPanelColumns; at += columns, ahead += fetched) {
      const int64_t col = pass.panel * kPanelColumns + at;
      if (col >= w.out) break;
      float* y[kPanelRows];
      for (int r = 0; r < height; ++r) y[r] = rows.y + (first + r) * w.out + col;
      const int64_t half = at / kHalfColumns;
      format.kernels[height - 1](
          {.rows = packed.data + first * packed.row_bytes + skipped,
           .weights = pass.weights + half * (format.group_bytes / 2),
           .groups = pass.groups,
           .ahead = ahead,
           .ahead_lines = ahead < ahead_end ? pass.ahead_lines : 0,
           .reads_once = reads_once,
           .fetch_to = to,
           .y = y,
           .bias = rows.bias == nullptr || !pass.is_last ? nullptr : rows.bias + col,
           .cols = w.out - col,
           .resumes = pass.first_group > 0});
    }
  }
}

// What a panel is cut into: equal shares, or all but an end and that end.
struct PanelCut {
  int64_t groups;
  int64_t passes;
  int64_t end_groups;  // 0: equal shares

  SLUICE_INLINE int64_t first(int64_t i) const {
    if (end_groups > 0) return i == 0 ? 0 : (i == 1 ? groups - end_groups : groups);
    return groups * i / passes;
  }
};

// Groups that are read `times` over go by passes: those of one tile are so short that what it
// fetches is there when the next pass begins. `jumps`: what is read after the panel lies elsewhere;
// groups that are read once turn there at their end only.
SLUICE_INLINE PanelCut cut_panel(const TileFormat& format, const PanelWeights& w, int64_t tiles,
                                 int64_t times, bool jumps) {
  const int64_t groups = w.panel_bytes / format.group_bytes;
  if (times > 1) {
    const int64_t bytes = tiles > 1 ? kPassBytes : 2 * core_habits().fetch_distance;
    return {groups, std::min(groups, (w.panel_bytes + bytes - 1) / bytes), 0};
  }
  const int64_t end = (core_habits().fetch_distance + format.group_bytes - 1) / format.group_bytes;
  return jumps && end < groups ? PanelCut{groups, 2, end} : PanelCut{groups, 1, 0};
}

void multiply_panels(const TileFormat& format, const PanelWeights& w, const PackedRows& packed,
                     const MatmulRows& rows, const PanelRange& range) {
  const int64_t tiles = range.tile_end - range.tile_begin;
  // Tiles that pass over some groups fetch the next ones, each its share.
  const int columns = format.columns(packed.tiles.height(range.tile_begin));
  const int64_t times = tiles * (kPanelColumns / columns);
  const int64_t shares = times * format.blocks;
  const int64_t lines = (format.group_bytes / 64 + shares - 1) / shares;
  const int64_t distance = core_habits().fetch_distance;
  const std::byte* behind = w.data + range.panel_end * w.panel_bytes;
  const std::byte* next = range.next == nullptr ? behind : range.next;
  for (int64_t panel = range.panel_begin; panel < range.panel_end; ++panel) {
    const std::byte* weights = w.data + panel * w.panel_bytes;
    const bool jumps = panel + 1 == range.panel_end && next != behind;
    const PanelCut cut = cut_panel(format, w, tiles, times, jumps);
    for (int64_t i = 0; i < cut.passes; ++i) {
      const int64_t first = cut.first(i), end = cut.first(i + 1);
      const int64_t bytes = (end - first) * format.group_bytes;
      const std::byte* from = weights + first * format.group_bytes;
      const std::byte* ahead = from + (times == 1 ? std::min(bytes, distance) : bytes);
      const bool is_last = i + 1 == cut.passes;
      pass_over(format,
                {.panel = panel,
                 .weights = from,
                 .first_group = first,
                 .groups = end - first,
                 .ahead = jumps && is_last ? next : ahead,
                 .ahead_lines = lines,
                 .ahead_bytes = bytes,
                 .is_last = is_last},
                w, packed, rows, range);
    }
  }
}
