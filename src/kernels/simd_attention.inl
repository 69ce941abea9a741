// Attention in partitions of kPartitionPositions (op_table.h), each one softmax of its own, merged
// as an online softmax is (Milakov and Gimelshein 2018; Dao et al. 2022). What happens to a query:
//
//   score     one multiply-add a dimension, ascending; then the scale of K, the cap
//   weight    2^((score - the partition's largest) * exponent_factor()); their sum by lanes of the
//             position, then sum_lanes()
//   value     one multiply-add a position, ascending
//   merge     partitions ascending: both sums shrunk to the larger top, then added
//
// and no more than that depends on how queries share tiles, or partitions tasks: a row's result is
// the same bits in a prompt's chunk, alone, or in any block.
//
// Up to kQueryTile queries share a pass over K and V, which are used as they lie in the cache.

constexpr int kPartGroups = kPartitionPositions / kKvGroup;
constexpr int kQueryTile = kLanes == 16 ? 8 : 4;
// Groups that are asked for before their use; twice a core's bandwidth times memory's latency.
constexpr int kGroupsAhead = 8;

// Vectors of scores or of a row of V that a pass computes at once for R queries: enough chains of
// dependent multiply-adds, few enough registers.
template <int R>
constexpr int kColumns = kLanes == 16 ? (R <= 4 ? 4 : 2) : (R <= 2 ? 4 : 2);

// One partition of one KV head, positions [begin, end) counted from its start.
struct Partition {
  int begin;
  int end;
  int first_group;
  int groups;
  // Groups of K, then as many of rows of V, in the order of their use; then what to fetch next.
  const std::byte* at[2 * kPartGroups + kGroupsAhead];
  const float* k_scales;  // [kPartitionPositions], null unless int8
  const float* v_scales;
};

// A thread's working memory for one task. `width` is head_dim rounded up to whole vectors.
struct AttentionScratch {
  int width;
  float* q;           // tile by tile: for each dimension the tile's queries
  float* out;         // [queries, width], sums so far
  float* top;         // [queries] largest score so far
  float* total;       // [queries] sum of weights so far, relative to top
  float* scores;      // [kQueryTile, kPartitionPositions], then weights
  float* sums;        // [kQueryTile, width], a partition's
  float* scales;      // [2, kPartitionPositions]
  std::byte* groups;  // a partition's K and V where a block does not hold whole groups
};

SLUICE_INLINE AttentionScratch attention_scratch(const AttentionTask& t, int queries) {
  const int head_dim = t.shape->head_dim;
  AttentionScratch s;
  s.width = (head_dim + kLanes - 1) / kLanes * kLanes;
  const int64_t singles = (queries + 15) / 16 * 16;
  const int64_t q = int64_t{singles} * head_dim, out = int64_t{queries} * s.width;
  constexpr int64_t kScores = int64_t{kQueryTile} * kPartitionPositions;
  const int64_t sums = int64_t{kQueryTile} * s.width;
  const bool copies = t.kv->block_size % kKvGroup != 0;
  const int64_t groups = copies ? int64_t{2} * kPartitionPositions * head_dim : 0;
  s.q = thread_scratch(static_cast<size_t>(q + out + 2 * singles + kScores + sums +
                                           2 * kPartitionPositions + groups));
  s.out = s.q + q;
  s.top = s.out + out;
  s.total = s.top + singles;
  s.scores = s.total + singles;
  s.sums = s.scores + kScores;
  s.scales = s.sums + sums;
  s.groups = reinterpret_cast<std::byte*>(s.scales + 2 * kPartitionPositions);
  return s;
}

// Queries are numbered row by row, heads within a row. A tile is some rows' heads, or an even share
// of one row's.
struct QueryTile {
  int first;
  int count;
};

struct Queries {
  const AttentionTask* task;
  int group;
  int parts_of_row;  // tiles of a row, when it has several
  int rows_of_tile;

  SLUICE_INLINE explicit Queries(const AttentionTask& t)
      : task(&t), group(t.shape->heads / t.shape->kv_heads) {
    parts_of_row = (group + kQueryTile - 1) / kQueryTile;
    rows_of_tile = parts_of_row > 1 ? 1 : kQueryTile / group;
  }

  SLUICE_INLINE int rows() const { return task->row_end - task->row_begin; }
  SLUICE_INLINE int count() const { return rows() * group; }
  SLUICE_INLINE int tiles() const {
    return (rows() + rows_of_tile - 1) / rows_of_tile * parts_of_row;
  }
  SLUICE_INLINE QueryTile tile(int i) const {
    const int row = i / parts_of_row * rows_of_tile, part = i % parts_of_row;
    if (parts_of_row == 1) {
      return {row * group, (row + rows_of_tile > rows() ? rows() - row : rows_of_tile) * group};
    }
    const int begin = group * part / parts_of_row;
    return {row * group + begin, group * (part + 1) / parts_of_row - begin};
  }
  SLUICE_INLINE int row(int query) const { return task->row_begin + query / group; }
  // Offset of the query's head in q and out.
  SLUICE_INLINE int64_t offset(int query) const {
    const AttentionShape& shape = *task->shape;
    return (int64_t{row(query)} * shape.heads + task->kv_head * group + query % group) *
           shape.head_dim;
  }
  SLUICE_INLINE float* part(int query, int partition) const {
    const AttentionParts& parts = *task->parts;
    const int64_t index = (int64_t{row(query)} * group + query % group) * parts.count;
    return parts.data +
           (index + partition - parts.first) * AttentionParts::part_floats(task->shape->head_dim);
  }
};

// The part of `span` inside a partition, counted from the partition's start; empty when it misses.
SLUICE_INLINE PositionSpan in_partition(PositionSpan span, int partition) {
  const int start = partition * kPartitionPositions;
  const int begin = std::clamp(span.begin - start, 0, kPartitionPositions);
  return {begin, std::clamp(span.end - start, begin, kPartitionPositions)};
}

SLUICE_INLINE PositionSpan seen_by_row(const AttentionTask& t, int row, int partition) {
  return in_partition(visible_positions(*t.shape, t.slice->first_position + row), partition);
}

// Copies `count` positions of a block to where a group of 16 of K and of V is put together.
SLUICE_INLINE void copy_positions(const KvLayer& kv, const KvHead& from, int offset, int count,
                                  std::byte* k, std::byte* v) {
  const int64_t bytes = kv_element_bytes(kv.element), dim = kv.head_dim;
  for (int64_t d = 0; d < dim; ++d) {
    std::memcpy(k + d * kKvGroup * bytes, from.k + (d * kv.block_size + offset) * bytes,
                static_cast<size_t>(count * bytes));
  }
  std::memcpy(v, from.v + offset * dim * bytes, static_cast<size_t>(count * dim * bytes));
}

// The group of K that begins at `position`, of a cache whose blocks hold whole groups.
SLUICE_INLINE const std::byte* k_group(const AttentionTask& t, int position) {
  const KvLayer& kv = *t.kv;
  const int32_t block = t.slice->blocks[static_cast<size_t>(position / kv.block_size)];
  return kv_head(kv, block, t.kv_head).k +
         int64_t{position % kv.block_size} * kv.head_dim * kv_element_bytes(kv.element);
}

// Fills p.at, and the scales, of such a cache.
void find_groups(const AttentionTask& t, int start, const AttentionScratch& s, Partition& p) {
  const KvLayer& kv = *t.kv;
  const int64_t group_bytes = kKvGroup * kv.head_dim * kv_element_bytes(kv.element);
  for (int i = 0; i < p.groups; ++i) {
    const int offset = (p.first_group + i) * kKvGroup, position = start + offset;
    const int32_t block = t.slice->blocks[static_cast<size_t>(position / kv.block_size)];
    const KvHead at = kv_head(kv, block, t.kv_head);
    const int in_block = position % kv.block_size;
    p.at[i] = at.k + in_block / kKvGroup * group_bytes;
    p.at[p.groups + i] = at.v + in_block / kKvGroup * group_bytes;
    if (kv.element == KvElement::kInt8) {
      constexpr size_t kBytes = kKvGroup * sizeof(float);
      std::memcpy(s.scales + offset, at.k_scales + in_block * int64_t{sizeof(float)}, kBytes);
      std::memcpy(s.scales + kPartitionPositions + offset,
                  at.v_scales + in_block * int64_t{sizeof(float)}, kBytes);
    }
  }
}

// The same for a cache of any block size: groups are put together in s.groups.
void gather_groups(const AttentionTask& t, int start, const AttentionScratch& s, Partition& p) {
  const KvLayer& kv = *t.kv;
  const int64_t bytes = kv_element_bytes(kv.element);
  const int64_t group_bytes = kKvGroup * kv.head_dim * bytes;
  for (int i = 0; i < p.groups; ++i) {
    p.at[i] = s.groups + i * group_bytes;
    p.at[p.groups + i] = s.groups + (p.groups + i) * group_bytes;
  }
  for (int from = p.first_group * kKvGroup; from < p.end;) {
    const int position = start + from, in_group = from % kKvGroup,
              in_block = position % kv.block_size;
    const int count = std::min({kKvGroup - in_group, kv.block_size - in_block, p.end - from});
    const int32_t block = t.slice->blocks[static_cast<size_t>(position / kv.block_size)];
    const KvHead at = kv_head(kv, block, t.kv_head);
    const int64_t i = from / kKvGroup - p.first_group;
    copy_positions(kv, at, in_block, count, s.groups + i * group_bytes + in_group * bytes,
                   s.groups + (p.groups + i) * group_bytes + in_group * kv.head_dim * bytes);
    if (kv.element == KvElement::kInt8) {
      const size_t scale_bytes = static_cast<size_t>(count) * sizeof(float);
      const int64_t offset = in_block * int64_t{sizeof(float)};
      std::memcpy(s.scales + from, at.k_scales + offset, scale_bytes);
      std::memcpy(s.scales + kPartitionPositions + from, at.v_scales + offset, scale_bytes);
    }
    from += count;
  }
}

// The next partition's first groups of K; where there is none, what is there already.
SLUICE_INLINE void find_next(const AttentionTask& t, int position, Partition& p) {
  const int seen = t.slice->first_position + t.row_end;
  for (int i = 0; i < kGroupsAhead; ++i, position += kKvGroup) {
    const bool is_there = t.kv->block_size % kKvGroup == 0 && position < seen;
    p.at[2 * p.groups + i] = is_there ? k_group(t, position) : p.at[2 * p.groups - 1];
  }
}

void open_partition(const AttentionTask& t, int index, const AttentionScratch& s, Partition& p) {
  p.begin = seen_by_row(t, t.row_begin, index).begin;
  p.end = seen_by_row(t, t.row_end - 1, index).end;
  p.first_group = p.begin / kKvGroup;
  p.groups = (p.end + kKvGroup - 1) / kKvGroup - p.first_group;
  const int start = index * kPartitionPositions;
  if (t.kv->block_size % kKvGroup == 0) {
    find_groups(t, start, s, p);
  } else {
    gather_groups(t, start, s, p);
  }
  find_next(t, start + kPartitionPositions, p);
  p.k_scales = t.kv->element == KvElement::kInt8 ? s.scales : nullptr;
  p.v_scales = t.kv->element == KvElement::kInt8 ? s.scales + kPartitionPositions : nullptr;
}

SLUICE_INLINE void fetch(const std::byte* p) { __builtin_prefetch(p, 0, 3); }

constexpr int kVectorsOfGroup = kKvGroup / kLanes;

// Scores of R queries against C vectors of positions, which begin with group `i`'s.
template <typename E, int R, int C>
SLUICE_INLINE void score_columns(const Partition& p, int i, const float* q, int head_dim,
                                 float* scores) {
  constexpr int kGroupRow = kKvGroup * E::kBytes;                 // bytes of a dimension
  constexpr int kStep = 64 / kGroupRow > 0 ? 64 / kGroupRow : 1;  // dimensions of a cache line
  V sums[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c] = zero();
  }
  const std::byte* keys[C];
  for (int c = 0; c < C; ++c) {
    keys[c] = p.at[i + c / kVectorsOfGroup] + c % kVectorsOfGroup * kLanes * E::kBytes;
  }
  const std::byte* next[C];
  for (int c = 0; c < C; ++c) next[c] = p.at[i + kGroupsAhead + c / kVectorsOfGroup];
  for (int d = 0; d < head_dim; ++d) {
    if (d % kStep == 0) {
      for (int c = 0; c < C; c += kVectorsOfGroup) fetch(next[c] + d * kGroupRow);
    }
    V key[C];
    for (int c = 0; c < C; ++c) key[c] = E::get(keys[c] + d * kGroupRow);
    for (int r = 0; r < R; ++r) {
      const V a = set(q[d * R + r]);
      for (int c = 0; c < C; ++c) sums[r][c] = fma(a, key[c], sums[r][c]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store(scores + r * kPartitionPositions + c * kLanes, sums[r][c]);
  }
}

template <typename E, int R>
void score(const Partition& p, const float* q, int head_dim, float* scores) {
  constexpr int kGroups = kColumns<R> / kVectorsOfGroup;
  int i = 0;
  scores += p.first_group * kKvGroup;
  for (; i + kGroups <= p.groups; i += kGroups) {
    score_columns<E, R, kColumns<R>>(p, i, q, head_dim, scores + i * kKvGroup);
  }
  for (; i < p.groups; ++i) {
    score_columns<E, R, kVectorsOfGroup>(p, i, q, head_dim, scores + i * kKvGroup);
  }
}

// A query's largest score in the partition and the sum of its weights relative to it.
struct Weighed {
  float top;
  float total;
};

// What a difference of scores is multiplied by: the difference of large scores is exact, so that
// only here does the scale round.
SLUICE_INLINE float exponent_factor(const AttentionShape& shape) {
  constexpr float kLog2E = 1.44269504F;
  return shape.softcap > 0 ? kLog2E : shape.scale * kLog2E;
}

// What is left to do to scores [begin, end), in whole vectors: the scale of K, the cap.
SLUICE_INLINE void finish_scores(const AttentionShape& shape, const float* k_scales, int begin,
                                 int end, float* scores) {
  const float cap = shape.softcap;
  if (k_scales == nullptr && cap <= 0) return;
  for (int i = begin; i < end; i += kLanes) {
    V a = load(scores + i);
    if (k_scales != nullptr) a = a * load(k_scales + i);
    if (cap > 0) a = set(cap) * tanh(a * set(shape.scale) / set(cap));
    store(scores + i, a);
  }
}

// Scores to weights, for the positions of `own`.
Weighed weigh(const AttentionShape& shape, const Partition& p, PositionSpan own, float* scores) {
  const int begin = own.begin / kLanes * kLanes, end = (own.end + kLanes - 1) / kLanes * kLanes;
  finish_scores(shape, p.k_scales, begin, end, scores);
  const float none = -std::numeric_limits<float>::infinity();
  for (int i = begin; i < own.begin; ++i) scores[i] = none;
  for (int i = own.end; i < end; ++i) scores[i] = none;
  const float top = largest(scores + begin, end - begin);
  const V factor = set(exponent_factor(shape));
  V total = zero();
  for (int i = begin; i < end; i += kLanes) {
    const V weight = exp2_of_negative((load(scores + i) - set(top)) * factor);
    total = total + weight;
    store(scores + i, p.v_scales == nullptr ? weight : weight * load(p.v_scales + i));
  }
  return {top, sum_lanes(total)};
}

// sums += weights · V over positions [begin, end) for R queries, C vectors of the row from element
// d on; `some` lanes of the last one are there.
template <typename E, int R, int C>
SLUICE_INLINE void mix_columns(const Partition& p, int begin, int end, int head_dim, int d,
                               int some, bool fetches, const float* weights, float* const* to) {
  V sums[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c] = load(to[r] + d + c * kLanes);
  }
  const int64_t row_bytes = int64_t{head_dim} * E::kBytes;
  for (int i = begin; i < end;) {
    const int group = i / kKvGroup, stop = std::min((group + 1) * kKvGroup, end);
    const int64_t index = p.groups + group - p.first_group;
    const std::byte* rows = p.at[index] - group * kKvGroup * row_bytes;
    const std::byte* next = p.at[index + kGroupsAhead] - group * kKvGroup * row_bytes;
    for (; i < stop; ++i) {
      const std::byte* row = rows + i * row_bytes + int64_t{d} * E::kBytes;
      if (fetches) {
        for (int64_t b = 0; b < row_bytes; b += 64) fetch(next + i * row_bytes + b);
      }
      V value[C];
      for (int c = 0; c < C - 1; ++c) value[c] = E::get(row + c * kLanes * E::kBytes);
      const std::byte* last = row + (C - 1) * kLanes * E::kBytes;
      value[C - 1] = some == kLanes ? E::get(last) : E::get_some(last, some);
      for (int r = 0; r < R; ++r) {
        const V weight = set(weights[r * kPartitionPositions + i]);
        for (int c = 0; c < C; ++c) sums[r][c] = fma(weight, value[c], sums[r][c]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store(to[r] + d + c * kLanes, sums[r][c]);
  }
}

// Rows of V that stay in the first-level cache until all their columns are done.
constexpr int kMixPositions = 64;

template <typename E, int R>
void mix(const Partition& p, PositionSpan span, int head_dim, const float* weights,
         float* const* to) {
  constexpr int kStep = kColumns<R> * kLanes;
  for (int i = span.begin; i < span.end;) {
    const int stop = std::min((i / kMixPositions + 1) * kMixPositions, span.end);
    int d = 0;
    for (; d + kStep <= head_dim; d += kStep) {
      mix_columns<E, R, kColumns<R>>(p, i, stop, head_dim, d, kLanes, d == 0, weights, to);
    }
    for (; d < head_dim; d += kLanes) {
      mix_columns<E, R, 1>(p, i, stop, head_dim, d, lanes_left(head_dim, d), d == 0, weights, to);
    }
    i = stop;
  }
}

// The passes of tiles of 1 … kQueryTile queries, at index queries - 1.
struct TilePasses {
  void (*score)(const Partition&, const float* q, int head_dim, float* scores);
  void (*mix)(const Partition&, PositionSpan, int head_dim, const float* weights, float* const* to);
};

template <typename E, int... R>
constexpr auto passes_by_queries(std::integer_sequence<int, R...>) {
  return std::array{TilePasses{&score<E, R + 1>, &mix<E, R + 1>}...};
}
template <typename E>
constexpr auto kTilePasses = passes_by_queries<E>(std::make_integer_sequence<int, kQueryTile>());

SLUICE_INLINE const TilePasses* tile_passes(KvElement element) {
  switch (element) {
    case KvElement::kF32:
      return kTilePasses<F32Element>.data();
    case KvElement::kF16:
      return kTilePasses<F16Element>.data();
    case KvElement::kBf16:
      return kTilePasses<Bf16Element>.data();
    case KvElement::kInt8:
      return kTilePasses<Int8Element>.data();
  }
  return nullptr;
}

// Adds a partition's sums to those of the ones before it.
SLUICE_INLINE void merge(const float* sums, Weighed part, float factor, int width, float* out,
                         float* top, float* total) {
  const float larger = std::max(*top, part.top);
  const V before = exp2_of_negative(set((*top - larger) * factor));
  const V here = exp2_of_negative(set((part.top - larger) * factor));
  for (int d = 0; d < width; d += kLanes) {
    store(out + d, fma(load(sums + d), here, load(out + d) * before));
  }
  float lanes[kLanes];
  store(lanes, fma(set(part.total), here, set(*total) * before));
  *total = lanes[0];
  *top = larger;
}

SLUICE_INLINE void clear(float* out, int width, float* top, float* total) {
  for (int d = 0; d < width; d += kLanes) store(out + d, zero());
  *top = -std::numeric_limits<float>::infinity();
  *total = 0.0F;
}

SLUICE_INLINE void finish(const float* sums, float total, int head_dim, float* out) {
  const V scale = set(1.0F / total);
  for (int d = 0; d < head_dim; d += kLanes) {
    store_some(out + d, load(sums + d) * scale, lanes_left(head_dim, d));
  }
}

// Where a tile's queries put the sums of a partition, and what each sees of it.
struct TileQueries {
  PositionSpan own[kQueryTile];
  float* sums[kQueryTile];
};

// Weights times V: the positions that all queries see together, what only some see one by one.
SLUICE_INLINE void mix_tile(const TilePasses* passes, const Partition& p, const TileQueries& at,
                            int count, int head_dim, const float* weights) {
  PositionSpan common = at.own[0];
  for (int r = 1; r < count; ++r) {
    common.begin = std::max(common.begin, at.own[r].begin);
    common.end = std::min(common.end, at.own[r].end);
  }
  if (common.begin >= common.end) common = {kPartitionPositions, kPartitionPositions};
  for (int r = 0; r < count; ++r) {
    const PositionSpan before = {at.own[r].begin, std::min(at.own[r].end, common.begin)};
    if (before.begin < before.end) {
      passes[0].mix(p, before, head_dim, weights + r * kPartitionPositions, at.sums + r);
    }
  }
  if (common.begin < common.end) passes[count - 1].mix(p, common, head_dim, weights, at.sums);
  for (int r = 0; r < count; ++r) {
    const PositionSpan after = {std::max(at.own[r].begin, common.end), at.own[r].end};
    if (after.begin < after.end) {
      passes[0].mix(p, after, head_dim, weights + r * kPartitionPositions, at.sums + r);
    }
  }
}

void attend_tile(const Queries& queries, QueryTile tile, const Partition& p, int partition,
                 const AttentionScratch& s) {
  const AttentionTask& t = *queries.task;
  const int head_dim = t.shape->head_dim;
  const TilePasses* passes = tile_passes(t.kv->element);
  TileQueries at;
  bool is_seen = false;
  for (int r = 0; r < tile.count; ++r) {
    const int query = tile.first + r;
    at.own[r] = seen_by_row(t, queries.row(query), partition);
    at.sums[r] =
        t.parts == nullptr ? s.sums + int64_t{r} * s.width : queries.part(query, partition);
    is_seen = is_seen || at.own[r].begin < at.own[r].end;
    for (int d = 0; d < s.width; d += kLanes) store(at.sums[r] + d, zero());
  }
  if (!is_seen) return;
  passes[tile.count - 1].score(p, s.q + int64_t{tile.first} * head_dim, head_dim, s.scores);
  Weighed weighed[kQueryTile];
  for (int r = 0; r < tile.count; ++r) {
    if (at.own[r].begin < at.own[r].end) {
      weighed[r] = weigh(*t.shape, p, at.own[r], s.scores + r * kPartitionPositions);
    }
  }
  mix_tile(passes, p, at, tile.count, head_dim, s.scores);
  for (int r = 0; r < tile.count; ++r) {
    if (at.own[r].begin >= at.own[r].end) continue;
    if (t.parts == nullptr) {
      const int query = tile.first + r;
      merge(at.sums[r], weighed[r], exponent_factor(*t.shape), s.width,
            s.out + int64_t{query} * s.width, s.top + query, s.total + query);
    } else {
      float* end = at.sums[r] + AttentionParts::part_floats(head_dim);
      end[-2] = weighed[r].top;
      end[-1] = weighed[r].total;
    }
  }
}

// The tile's queries side by side for each dimension.
SLUICE_INLINE void load_queries(const Queries& queries, QueryTile tile, const AttentionScratch& s) {
  const AttentionTask& t = *queries.task;
  float* to = s.q + int64_t{tile.first} * t.shape->head_dim;
  for (int r = 0; r < tile.count; ++r) {
    const float* q = t.slice->q + queries.offset(tile.first + r);
    for (int d = 0; d < t.shape->head_dim; ++d) to[d * tile.count + r] = q[d];
  }
}

void attention(const AttentionTask& t) {
  const Queries queries(t);
  const AttentionScratch s = attention_scratch(t, queries.count());
  for (int i = 0; i < queries.tiles(); ++i) load_queries(queries, queries.tile(i), s);
  for (int i = 0; i < queries.count(); ++i) {
    clear(s.out + int64_t{i} * s.width, s.width, s.top + i, s.total + i);
  }
  Partition p;
  for (int partition = t.part_begin; partition < t.part_end; ++partition) {
    open_partition(t, partition, s, p);
    for (int i = 0; i < queries.tiles(); ++i) {
      attend_tile(queries, queries.tile(i), p, partition, s);
    }
  }
  if (t.parts != nullptr) return;
  for (int i = 0; i < queries.count(); ++i) {
    finish(s.out + int64_t{i} * s.width, s.total[i], t.shape->head_dim,
           t.slice->out + queries.offset(i));
  }
}

void merge_attention(const AttentionTask& t) {
  const Queries queries(t);
  const int head_dim = t.shape->head_dim, width = (head_dim + kLanes - 1) / kLanes * kLanes;
  float* sums = thread_scratch(static_cast<size_t>(width));
  for (int i = 0; i < queries.count(); ++i) {
    float top;
    float total;
    clear(sums, width, &top, &total);
    for (int partition = t.part_begin; partition < t.part_end; ++partition) {
      const PositionSpan own = seen_by_row(t, queries.row(i), partition);
      if (own.begin >= own.end) continue;
      const float* part = queries.part(i, partition);
      const float* end = part + AttentionParts::part_floats(head_dim);
      merge(part, {end[-2], end[-1]}, exponent_factor(*t.shape), width, sums, &top, &total);
    }
    finish(sums, total, head_dim, t.slice->out + queries.offset(i));
  }
}
