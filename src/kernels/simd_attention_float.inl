// Attention, second part: products in float32.
//
//   score   one multiply-add a dimension, ascending
//   value   one multiply-add a position, ascending

// Vectors of scores or of a row of V that a pass computes at once for R queries: enough chains of
// dependent multiply-adds, few enough registers.
template <int R>
constexpr int kColumns = kLanes == 16 ? (R <= 4 ? 4 : 2) : (R <= 2 ? 4 : 2);

// The tile's queries side by side for each dimension.
SLUICE_INLINE void load_queries(const Queries& queries, QueryTile tile, const AttentionScratch& s) {
  const AttentionTask& t = *queries.task;
  float* to = s.q + int64_t{tile.first} * t.shape->head_dim;
  for (int r = 0; r < tile.count; ++r) {
    const float* q = t.slice->q + queries.offset(tile.first + r);
    for (int d = 0; d < t.shape->head_dim; ++d) to[d * tile.count + r] = q[d];
  }
}

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
    for (int c = 0; c < C; ++c) store(scores + r * kScoreStride + c * kLanes, sums[r][c]);
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
        const V weight = set(weights[r * kScoreStride + i]);
        for (int c = 0; c < C; ++c) sums[r][c] = fma(weight, value[c], sums[r][c]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store(to[r] + d + c * kLanes, sums[r][c]);
  }
}

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

// Positions that a sum of values takes at once.
constexpr int kMixStep = 1;

// Leaves weights for mix(); what of them is added to the sum of weights.
SLUICE_INLINE V keep_weights(float* weights, int i, V weight, const float* v_scales) {
  store(weights + i, v_scales == nullptr ? weight : weight * load(v_scales + i));
  return weight;
}

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
