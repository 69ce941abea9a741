// Attention, first part: where a partition's K and V lie, and which queries share a pass over them.
// Up to kQueryTile do, a constant that an instruction set's file defines; K and V are used as they
// lie in the cache.

constexpr int kPartGroups = kPartitionPositions / kKvGroup;
// Groups that are asked for before their use; twice a core's bandwidth times memory's latency.
constexpr int kGroupsAhead = 8;

// Floats from one query's scores to the next one's: a line more than there are, as neighbours that
// lie a power of two apart would share few sets of the first-level cache.
constexpr int kScoreStride = kPartitionPositions + 16;

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
  float* q;           // tile by tile, as load_queries() lays them
  float* out;         // [queries, width], sums so far
  float* top;         // [queries] largest score so far
  float* total;       // [queries] sum of weights so far, relative to top
  float* scores;      // [kQueryTile, kScoreStride], then weights
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
  constexpr int64_t kScores = int64_t{kQueryTile} * kScoreStride;
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
  int parts_of_row;   // tiles of a row, when it has several
  int tiles_of_rows;  // else tiles of all rows

  SLUICE_INLINE explicit Queries(const AttentionTask& t)
      : task(&t), group(t.shape->heads / t.shape->kv_heads) {
    parts_of_row = (group + kQueryTile - 1) / kQueryTile;
    const int most = parts_of_row > 1 ? 1 : kQueryTile / group;
    tiles_of_rows = (rows() + most - 1) / most;
  }

  SLUICE_INLINE int rows() const { return task->row_end - task->row_begin; }
  SLUICE_INLINE int count() const { return rows() * group; }
  SLUICE_INLINE int tiles() const { return tiles_of_rows * parts_of_row; }
  SLUICE_INLINE QueryTile tile(int i) const {
    if (parts_of_row == 1) {
      const int first = rows() * i / tiles_of_rows, end = rows() * (i + 1) / tiles_of_rows;
      return {first * group, (end - first) * group};
    }
    const int row = i / parts_of_row, part = i % parts_of_row;
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

// Rows of V that stay in the first-level cache until all their columns are done.
constexpr int kMixPositions = 64;

// The products of tiles of 1 … kQueryTile queries, at index queries - 1: scores of all positions of
// a partition, and sums of rows of V by their weights.
struct TilePasses {
  void (*score)(const Partition&, const float* q, int head_dim, float* scores);
  void (*mix)(const Partition&, PositionSpan, int head_dim, const float* weights, float* const* to);
};
