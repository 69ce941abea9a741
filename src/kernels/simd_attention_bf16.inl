// Attention, second part: products of a BF16 cache by the BF16 dot product unit, in pairs.
//
//   query   rounded to BF16
//   score   two dimensions at a time, ascending; a last odd one is paired with zero
//   weight  rounded to BF16, and so added to the sum of weights
//   value   positions 2i and 2i + 1 at a time, ascending; one that the query does not see is zero

static_assert(kLanes == 16 && kKvGroup == 16);

// Positions that a sum of values takes at once.
constexpr int kMixStep = 2;

// Vectors of scores or of a row of V that a pass computes at once for R queries: enough chains of
// dependent sums, few enough registers.
template <int R>
constexpr int kColumns = R <= 4 ? 4 : 2;

constexpr int kPairBytes = 4;

// Words first, first + apart, first + 1, …: 16 elements and 16 others become 16 pairs.
SLUICE_INLINE __m512i pair_order(int first, int apart) {
  const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i low = _mm512_add_epi32(count, _mm512_set1_epi32(first));
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(apart));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}
SLUICE_INLINE Pairs as_pairs(__m512i a) { return reinterpret_cast<__m512bh>(a); }
// The first n elements; the others are zero and their memory is not touched.
SLUICE_INLINE __m512i load_elements(const std::byte* p, int n) {
  return _mm512_maskz_loadu_epi16(n >= 32 ? ~0U : (1U << n) - 1, p);
}

// The tile's queries side by side for each pair of dimensions.
SLUICE_INLINE void load_queries(const Queries& queries, QueryTile tile, const AttentionScratch& s) {
  const AttentionTask& t = *queries.task;
  const int head_dim = t.shape->head_dim;
  auto* to = reinterpret_cast<std::byte*>(s.q + int64_t{tile.first} * head_dim);
  for (int r = 0; r < tile.count; ++r) {
    const float* q = t.slice->q + queries.offset(tile.first + r);
    for (int d = 0; d < head_dim; d += kLanes) {
      std::byte rounded[kLanes * 2];
      store_elements(rounded, load_some(q + d, lanes_left(head_dim, d)));
      for (int i = 0; i < kLanes && d + i < head_dim; i += 2) {
        std::memcpy(to + (int64_t{d + i} / 2 * tile.count + r) * kPairBytes, rounded + i * 2,
                    kPairBytes);
      }
    }
  }
}

// One pair of dimensions of C groups of keys, for R queries.
template <int R, int C>
SLUICE_INLINE void add_scores(const __m512i (&keys)[C], const std::byte* q, V (&sums)[R][C]) {
  const __m512i order = pair_order(0, kKvGroup);
  Pairs pairs[C];
  for (int c = 0; c < C; ++c) pairs[c] = as_pairs(_mm512_permutexvar_epi16(order, keys[c]));
  for (int r = 0; r < R; ++r) {
    const Pairs a = broadcast_pair(q + r * kPairBytes);
    for (int c = 0; c < C; ++c) sums[r][c] = dot(sums[r][c], pairs[c], a);
  }
}

// Scores of R queries against the positions of groups i … i + C - 1.
template <int R, int C>
SLUICE_INLINE void score_columns(const Partition& p, int i, const std::byte* q, int head_dim,
                                 float* scores) {
  V sums[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c] = zero();
  }
  constexpr int kKeyBytes = kKvGroup * 2;  // a dimension of a group
  __m512i keys[C];
  int d = 0;
  for (; d + 2 <= head_dim; d += 2, q += R * kPairBytes) {
    for (int c = 0; c < C; ++c) fetch(p.at[i + kGroupsAhead + c] + d * kKeyBytes);
    for (int c = 0; c < C; ++c) keys[c] = _mm512_loadu_si512(p.at[i + c] + d * kKeyBytes);
    add_scores<R, C>(keys, q, sums);
  }
  if (d < head_dim) {
    for (int c = 0; c < C; ++c) keys[c] = load_elements(p.at[i + c] + d * kKeyBytes, kKvGroup);
    add_scores<R, C>(keys, q, sums);
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store(scores + r * kScoreStride + c * kLanes, sums[r][c]);
  }
}

template <int R>
void score(const Partition& p, const float* q, int head_dim, float* scores) {
  const auto* pairs = reinterpret_cast<const std::byte*>(q);
  int i = 0;
  scores += p.first_group * kKvGroup;
  for (; i + kColumns<R> <= p.groups; i += kColumns<R>) {
    score_columns<R, kColumns<R>>(p, i, pairs, head_dim, scores + i * kKvGroup);
  }
  for (; i < p.groups; ++i) {
    score_columns<R, 1>(p, i, pairs, head_dim, scores + i * kKvGroup);
  }
}

// Leaves weights for mix(), two bytes each where scores of four were; what of them is added to the
// sum of weights.
SLUICE_INLINE V keep_weights(float* weights, int i, V weight, const float* /*v_scales*/) {
  std::byte* to = reinterpret_cast<std::byte*>(weights) + i * 2;
  store_elements(to, weight);
  return load_bf16(to);
}

// C vectors of a row of V, two in one load; of a lone one `some` elements. Null: zeros.
template <int C>
SLUICE_INLINE void load_row(const std::byte* row, int some, __m512i (&to)[(C + 1) / 2]) {
  for (int c = 0; c < (C + 1) / 2; ++c) {
    to[c] = row == nullptr ? _mm512_setzero_si512()
            : C == 1       ? load_elements(row, some)
                           : _mm512_loadu_si512(row + c * 64);
  }
}

// Two rows of V for R queries, whose weights lie kScoreStride floats apart.
template <int R, int C>
SLUICE_INLINE void add_values(const std::byte* even, const std::byte* odd, int some,
                              const std::byte* weights, V (&sums)[R][C]) {
  const __m512i first = pair_order(0, 32), second = pair_order(16, 32);
  __m512i a[(C + 1) / 2], b[(C + 1) / 2];
  load_row<C>(even, some, a);
  load_row<C>(odd, some, b);
  Pairs values[C];
  for (int c = 0; c < C; ++c) {
    values[c] =
        as_pairs(_mm512_permutex2var_epi16(a[c / 2], c % 2 == 0 ? first : second, b[c / 2]));
  }
  for (int r = 0; r < R; ++r) {
    const Pairs weight =
        broadcast_pair(weights + int64_t{r} * kScoreStride * int64_t{sizeof(float)});
    for (int c = 0; c < C; ++c) sums[r][c] = dot(sums[r][c], values[c], weight);
  }
}

// sums += weights · V over positions [begin, end) for R queries, C vectors of the row from element
// d on; `some` elements of a lone one are there.
template <int R, int C>
SLUICE_INLINE void mix_columns(const Partition& p, int begin, int end, int head_dim, int d,
                               int some, bool fetches, const float* weights, float* const* to) {
  V sums[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) sums[r][c] = load(to[r] + d + c * kLanes);
  }
  const auto* of_pairs = reinterpret_cast<const std::byte*>(weights);
  const int64_t row_bytes = int64_t{head_dim} * 2;
  for (int i = begin / 2 * 2; i < end;) {
    const int group = i / kKvGroup, stop = std::min((group + 1) * kKvGroup, end);
    const int64_t index = p.groups + group - p.first_group;
    const std::byte* rows = p.at[index] - group * kKvGroup * row_bytes;
    const std::byte* next = p.at[index + kGroupsAhead] - group * kKvGroup * row_bytes;
    for (; i < stop; i += 2) {
      const std::byte* row = rows + i * row_bytes + int64_t{d} * 2;
      if (fetches) {
        for (int64_t b = 0; b < 2 * row_bytes; b += 64) fetch(next + i * row_bytes + b);
      }
      const bool is_whole = i >= begin && i + 1 < end;
      if (is_whole) {
        add_values<R, C>(row, row + row_bytes, some, of_pairs + i * 2, sums);
      } else if constexpr (R == 1) {
        add_values<R, C>(i >= begin ? row : nullptr, i + 1 < end ? row + row_bytes : nullptr, some,
                         of_pairs + i * 2, sums);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) store(to[r] + d + c * kLanes, sums[r][c]);
  }
}

template <int R>
void mix(const Partition& p, PositionSpan span, int head_dim, const float* weights,
         float* const* to) {
  constexpr int kStep = kColumns<R> * kLanes;
  for (int i = span.begin; i < span.end;) {
    const int stop = std::min((i / kMixPositions + 1) * kMixPositions, span.end);
    int d = 0;
    for (; d + kStep <= head_dim; d += kStep) {
      mix_columns<R, kColumns<R>>(p, i, stop, head_dim, d, kLanes, d == 0, weights, to);
    }
    for (; d < head_dim; d += kLanes) {
      mix_columns<R, 1>(p, i, stop, head_dim, d, lanes_left(head_dim, d), d == 0, weights, to);
    }
    i = stop;
  }
}

template <int... R>
constexpr auto passes_by_queries(std::integer_sequence<int, R...>) {
  return std::array{TilePasses{&score<R + 1>, &mix<R + 1>}...};
}
constexpr auto kTilePasses = passes_by_queries(std::make_integer_sequence<int, kQueryTile>());

SLUICE_INLINE const TilePasses* tile_passes(KvElement) { return kTilePasses.data(); }
