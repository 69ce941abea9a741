// Attention, last part, in partitions of kPartitionPositions (op_table.h), each one softmax of its
// own, merged as an online softmax is (Milakov and Gimelshein 2018; Dao et al. 2022). What happens
// to a query:
//
//   score     q · K as simd_attention_float.inl or simd_attention_bf16.inl has it; then the scale
//   of
//             K, the cap
//   weight    2^((score - the partition's largest) * exponent_factor()); their sum by lanes of the
//             position, then sum_lanes()
//   value     weights · V, as there
//   merge     partitions ascending: both sums shrunk to the larger top, then added
//
// and no more than that depends on how queries share tiles, or partitions tasks: a row's result is
// the same bits in a prompt's chunk, alone, or in any block.

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
    total = total + keep_weights(scores, i, weight, p.v_scales);
  }
  return {top, sum_lanes(total)};
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
  common.begin = (common.begin + kMixStep - 1) / kMixStep * kMixStep;
  common.end = common.end / kMixStep * kMixStep;
  if (common.begin >= common.end) common = {kPartitionPositions, kPartitionPositions};
  for (int r = 0; r < count; ++r) {
    const PositionSpan before = {at.own[r].begin, std::min(at.own[r].end, common.begin)};
    if (before.begin < before.end) {
      passes[0].mix(p, before, head_dim, weights + r * kScoreStride, at.sums + r);
    }
  }
  if (common.begin < common.end) passes[count - 1].mix(p, common, head_dim, weights, at.sums);
  for (int r = 0; r < count; ++r) {
    const PositionSpan after = {std::max(at.own[r].begin, common.end), at.own[r].end};
    if (after.begin < after.end) {
      passes[0].mix(p, after, head_dim, weights + r * kScoreStride, at.sums + r);
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
      weighed[r] = weigh(*t.shape, p, at.own[r], s.scores + r * kScoreStride);
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
