// Attention with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022) over tiles of
// kTilePositions positions, counted from position 0. What a query does in a tile depends on its own
// position only, so its result is the same bits in a prompt's chunk, alone, or in any block.

constexpr int kTilePositions = 64;
constexpr int kValueRows = 4;  // queries that share a pass over V

// A thread's working memory for one task. `width` is head_dim rounded up to whole vectors; what is
// past head_dim is zero.
struct AttentionScratch {
  int queries;
  int width;
  float* q;       // [queries, width], times the scale
  float* out;     // [queries, width], sums so far
  float* top;     // [queries] largest score so far
  float* total;   // [queries] sum of weights so far, relative to top
  float* shrink;  // [queries] factor that the present tile puts on earlier sums
  float* scores;  // [queries, kTilePositions], then weights
  float* keys;    // groups of four positions: for each vector of a row, four vectors
  float* values;  // [kTilePositions, width]
};

SLUICE_INLINE AttentionScratch attention_scratch(int queries, int head_dim) {
  AttentionScratch s;
  s.queries = queries;
  s.width = (head_dim + kLanes - 1) / kLanes * kLanes;
  const int64_t rows = int64_t{queries} * s.width, tile = int64_t{kTilePositions} * s.width;
  const int64_t singles = (queries + 15) / 16 * 16;
  const int64_t scores = int64_t{queries} * kTilePositions;
  float* next = thread_scratch(static_cast<size_t>(2 * rows + 3 * singles + scores + 2 * tile));
  s.q = next;
  s.out = s.q + rows;
  s.scores = s.out + rows;
  s.keys = s.scores + scores;
  s.values = s.keys + tile;
  s.top = s.values + tile;
  s.total = s.top + singles;
  s.shrink = s.total + singles;
  return s;
}

// The positions that a query may see.
struct Span {
  int begin;
  int end;
};

SLUICE_INLINE Span visible(const AttentionTask& t, int row) {
  const int position = t.slice->first_position + row;
  const int window = t.shape->window;
  return {window > 0 ? std::max(0, position - window + 1) : 0, position + 1};
}

SLUICE_INLINE V load_kv(KvElement element, const std::byte* row, V scale, int i, int some) {
  switch (element) {
    case KvElement::kF32:
      return load_some(reinterpret_cast<const float*>(row) + i, some);
    case KvElement::kF16:
      return some == kLanes ? load_f16(row + int64_t{2} * i)
                            : load_f16_some(row + int64_t{2} * i, some);
    case KvElement::kInt8:
      return scale * (some == kLanes ? load_i8(row + i) : load_i8_some(row + i, some));
  }
  return zero();
}

// A row of the cache as floats to out, out + stride, … a vector each.
SLUICE_INLINE void decode_row(const KvLayer& kv, const std::byte* row, const std::byte* scale_at,
                              float* out, int64_t stride) {
  float scale = 1.0F;
  if (kv.element == KvElement::kInt8) std::memcpy(&scale, scale_at, sizeof scale);
  for (int i = 0; i < kv.head_dim; i += kLanes, out += stride) {
    store(out, load_kv(kv.element, row, set(scale), i, lanes_left(kv.head_dim, i)));
  }
}

// Positions [begin, end) of the tile that starts at `start` to s.keys and s.values. Keys that are
// not there but share a group of four with one that is become zero.
void decode_tile(const AttentionTask& t, int start, Span span, const AttentionScratch& s) {
  for (int i = span.begin / 4 * 4; i < (span.end + 3) / 4 * 4; ++i) {
    float* keys = s.keys + int64_t{i / 4 * 4} * s.width + i % 4 * kLanes;
    if (i < span.begin || i >= span.end) {
      for (int d = 0; d < s.width; d += kLanes) store(keys + d * 4, zero());
      continue;
    }
    const int position = start + i;
    const int32_t block = t.slice->blocks[static_cast<size_t>(position / t.kv->block_size)];
    const KvRow at = kv_row(*t.kv, block, t.kv_head, position % t.kv->block_size);
    decode_row(*t.kv, at.k, at.k_scale, keys, int64_t{4} * kLanes);
    decode_row(*t.kv, at.v, at.v_scale, s.values + int64_t{i} * s.width, kLanes);
  }
}

// Scores of R queries against the groups of four keys that cover `span`.
template <int R>
void score(const AttentionScratch& s, int first, Span span) {
  const float* q[R];
  for (int r = 0; r < R; ++r) q[r] = s.q + int64_t{first + r} * s.width;
  const auto* here = reinterpret_cast<const std::byte*>(s.keys);
  const Ahead nothing = {{here, here}, 0};
  for (int i = span.begin / 4 * 4; i < span.end; i += 4) {
    Tile<R> t;
    clear(t);
    multiply<R>(q, s.width, s.keys + int64_t{i} * s.width, nothing, t);
    for (int r = 0; r < R; ++r) {
      _mm_storeu_ps(s.scores + int64_t{first + r} * kTilePositions + i,
                    sum_lanes(t.sums[r][0], t.sums[r][1], t.sums[r][2], t.sums[r][3]));
    }
  }
}

template <int... R>
constexpr auto scores_by_rows(std::integer_sequence<int, R...>) {
  return std::array{&score<R + 1>...};
}
constexpr auto kScores = scores_by_rows(std::make_integer_sequence<int, kTileRows>());

// Scores to weights relative to the new top, for the positions of `own`; the others weigh nothing.
SLUICE_INLINE void weigh(const AttentionScratch& s, int query, Span own, float cap) {
  float* scores = s.scores + int64_t{query} * kTilePositions;
  const float none = -std::numeric_limits<float>::infinity();
  for (int i = 0; i < own.begin; ++i) scores[i] = none;
  for (int i = own.end; i < kTilePositions; ++i) scores[i] = none;
  V tops = set(s.top[query]);
  for (int i = 0; i < kTilePositions; i += kLanes) {
    V a = load(scores + i);
    if (cap > 0) {
      // The cap would make a finite score of what is masked.
      a = select_less(set(none), a, set(cap) * tanh(a / set(cap)), a);
      store(scores + i, a);
    }
    tops = max(tops, a);
  }
  const float top = max_lane(tops);
  V total = zero();
  for (int i = 0; i < kTilePositions; i += kLanes) {
    const V weight = exp(load(scores + i) - set(top));
    store(scores + i, weight);
    total = total + weight;
  }
  const V shrink = exp(set(s.top[query] - top));
  float lanes[kLanes];
  store(lanes, shrink);
  s.shrink[query] = lanes[0];
  s.total[query] = s.total[query] * lanes[0] + sum_lanes(total);
  s.top[query] = top;
}

// out = out * shrink + weights · V for R queries that see the same positions, `kCols` vectors of
// the row at once.
template <int R, int kCols>
SLUICE_INLINE void add_values(const AttentionScratch& s, int first, Span own, int d) {
  V sums[R][kCols];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kCols; ++c) {
      const float* out = s.out + int64_t{first + r} * s.width + d + c * kLanes;
      sums[r][c] = load(out) * set(s.shrink[first + r]);
    }
  }
  const float* weights = s.scores + int64_t{first} * kTilePositions;
  for (int i = own.begin; i < own.end; ++i) {
    const float* value = s.values + int64_t{i} * s.width + d;
    for (int c = 0; c < kCols; ++c) {
      const V v = load(value + c * kLanes);
      for (int r = 0; r < R; ++r) {
        sums[r][c] = fma(set(weights[r * kTilePositions + i]), v, sums[r][c]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kCols; ++c) {
      store(s.out + int64_t{first + r} * s.width + d + c * kLanes, sums[r][c]);
    }
  }
}

template <int R>
void mix_values(const AttentionScratch& s, int first, Span own) {
  constexpr int kCols = kLanes == 16 ? 4 : 2;
  int d = 0;
  for (; d + kCols * kLanes <= s.width; d += kCols * kLanes) add_values<R, kCols>(s, first, own, d);
  for (; d < s.width; d += kLanes) add_values<R, 1>(s, first, own, d);
}

template <int... R>
constexpr auto mixes_by_rows(std::integer_sequence<int, R...>) {
  return std::array{&mix_values<R + 1>...};
}
constexpr auto kMixes = mixes_by_rows(std::make_integer_sequence<int, kValueRows>());

SLUICE_INLINE bool same(Span a, Span b) { return a.begin == b.begin && a.end == b.end; }

// The part of `span` inside the tile, counted from the tile's start; empty when it misses it.
SLUICE_INLINE Span in_tile(Span span, int start) {
  const int begin = std::clamp(span.begin - start, 0, kTilePositions);
  return {begin, std::clamp(span.end - start, begin, kTilePositions)};
}

// Queries are numbered row by row, heads within a row: query i is of row i / group.
struct Queries {
  const AttentionTask* task;
  int group;

  SLUICE_INLINE Span own(int query, int start) const {
    return in_tile(visible(*task, task->row_begin + query / group), start);
  }
  // Offset of the query's head in q and out.
  SLUICE_INLINE int64_t offset(int query) const {
    const AttentionShape& shape = *task->shape;
    const int64_t row = task->row_begin + query / group;
    return (row * shape.heads + task->kv_head * group + query % group) * shape.head_dim;
  }
};

void attend_tile(const Queries& queries, int start, const AttentionScratch& s) {
  const AttentionTask& t = *queries.task;
  const Span all = in_tile({visible(t, t.row_begin).begin, visible(t, t.row_end - 1).end}, start);
  decode_tile(t, start, all, s);
  for (int i = 0; i < s.queries; i += kTileRows) {
    const int count = std::min(kTileRows, s.queries - i);
    kScores[static_cast<size_t>(count - 1)](s, i, all);
  }
  for (int i = 0; i < s.queries;) {
    const Span own = queries.own(i, start);
    int count = 1;
    while (count < kValueRows && i + count < s.queries &&
           same(queries.own(i + count, start), own)) {
      ++count;
    }
    // A tile that a query does not see must leave its sums alone.
    if (own.begin < own.end) {
      for (int r = 0; r < count; ++r) weigh(s, i + r, own, t.shape->softcap);
      kMixes[static_cast<size_t>(count - 1)](s, i, own);
    }
    i += count;
  }
}

void attention(const AttentionTask& t) {
  const AttentionShape& shape = *t.shape;
  const Queries queries{&t, shape.heads / shape.kv_heads};
  const AttentionScratch s =
      attention_scratch((t.row_end - t.row_begin) * queries.group, shape.head_dim);
  for (int i = 0; i < s.queries; ++i) {
    const float* q = t.slice->q + queries.offset(i);
    for (int d = 0; d < s.width; d += kLanes) {
      const int some = std::max(0, lanes_left(shape.head_dim, d));
      store(s.q + int64_t{i} * s.width + d, load_some(q + d, some) * set(shape.scale));
      store(s.out + int64_t{i} * s.width + d, zero());
    }
    s.top[i] = -std::numeric_limits<float>::infinity();
    s.total[i] = 0.0F;
  }
  const int begin = visible(t, t.row_begin).begin / kTilePositions * kTilePositions;
  const int end = visible(t, t.row_end - 1).end;
  for (int start = begin; start < end; start += kTilePositions) attend_tile(queries, start, s);
  for (int i = 0; i < s.queries; ++i) {
    const V scale = set(1.0F / s.total[i]);
    float* out = t.slice->out + queries.offset(i);
    for (int d = 0; d < shape.head_dim; d += kLanes) {
      store_some(out + d, load(s.out + int64_t{i} * s.width + d) * scale,
                 lanes_left(shape.head_dim, d));
    }
  }
}
