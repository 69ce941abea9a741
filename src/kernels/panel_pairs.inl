// The dot products of a part of a block with rows, two rows at a time by USMMLA: two columns of
// eight elements times two rows of as many. Integers, so that the order does not matter. An odd row
// is left to dot().

template <int R>
struct IntSums {
  // Two columns a register: [first column's two rows, second column's].
  int32x4_t pairs[R / 2 + 1][kTileVectors][4];
  I odd[kTileVectors];

  SLUICE_INLINE I of(int row, int vector) const {
    if (R % 2 == 1 && row == R - 1) return odd[vector];
    const int32x4_t* p = pairs[row / 2][vector];
    if (row % 2 == 0) return {vuzp1q_s32(p[0], p[1]), vuzp1q_s32(p[2], p[3])};
    return {vuzp2q_s32(p[0], p[1]), vuzp2q_s32(p[2], p[3])};
  }
};

// Eight quants of two rows.
template <int kStep>
SLUICE_INLINE int8x16_t quants_of_two(const std::byte* rows, int first) {
  const int64x2_t a = vreinterpretq_s64_s8(quants_around<kStep>(block_of_row(rows, first)));
  const int64x2_t b = vreinterpretq_s64_s8(quants_around<kStep>(block_of_row(rows, first + 1)));
  return vreinterpretq_s8_s64(kStep % 4 == 0 ? vzip1q_s64(a, b) : vzip2q_s64(a, b));
}

// Four columns' elements of two steps, beside each other for each column.
struct ColumnPairs {
  uint8x16_t first;
  uint8x16_t second;
};
SLUICE_INLINE ColumnPairs column_pairs(uint8x16_t step, uint8x16_t next) {
  const uint32x4_t a = vreinterpretq_u32_u8(step), b = vreinterpretq_u32_u8(next);
  return {vreinterpretq_u8_u32(vzip1q_u32(a, b)), vreinterpretq_u8_u32(vzip2q_u32(a, b))};
}

// Steps kStep and kStep + 1 of one vector of columns.
template <int R, int kStep>
SLUICE_INLINE void add_vector(const std::byte* rows, Weights step, Weights next, int vector,
                              IntSums<R>& t) {
  const ColumnPairs lo = column_pairs(step.lo, next.lo), hi = column_pairs(step.hi, next.hi);
  for (int i = 0; i < R / 2; ++i) {
    const int8x16_t a = quants_of_two<kStep>(rows, 2 * i);
    int32x4_t* sums = t.pairs[i][vector];
    sums[0] = vusmmlaq_s32(sums[0], lo.first, a);
    sums[1] = vusmmlaq_s32(sums[1], lo.second, a);
    sums[2] = vusmmlaq_s32(sums[2], hi.first, a);
    sums[3] = vusmmlaq_s32(sums[3], hi.second, a);
  }
  if constexpr (R % 2 == 1) {
    const std::byte* block = block_of_row(rows, R - 1);
    I& sum = t.odd[vector];
    sum = dot<kStep>(sum, step, activations<kStep>(block));
    sum = dot<kStep + 1>(sum, next, activations<kStep + 1>(block));
  }
}

// An even step and the one after it.
template <typename F, int R, int kStep, typename Fetch>
SLUICE_INLINE void add_two_steps(const std::byte* rows, const std::byte* const* planes,
                                 const std::byte* ahead, IntSums<R>& t) {
  Fetch::at_step(ahead, kStep);
  if constexpr (kStep % 2 == 0) {
    for (int c = 0; c < kTileVectors; ++c) {
      add_vector<R, kStep>(rows, F::template weights<kStep>(planes[c], lane_of(c)),
                           F::template weights<kStep + 1>(planes[c], lane_of(c)), c, t);
    }
  }
}

// Part kSub of a block, whose steps are kEach plus those of the parts before.
template <typename F, int R, int kSub, typename Fetch, int... kEach>
SLUICE_INLINE void add_steps(const std::byte* rows, const std::byte* const* planes,
                             const std::byte* ahead, IntSums<R>& t,
                             std::integer_sequence<int, kEach...>) {
  constexpr int kFirst = kSub * static_cast<int>(sizeof...(kEach));
  for (int c = 0; c < kTileVectors; ++c) {
    for (int i = 0; i < R / 2; ++i) {
      const I a = first_sum<F::kLayout, kSub>(block_of_row(rows, 2 * i));
      const I b = first_sum<F::kLayout, kSub>(block_of_row(rows, 2 * i + 1));
      for (int32x4_t& sums : t.pairs[i][c]) sums = vzip1q_s32(a.lo, b.lo);
    }
    if constexpr (R % 2 == 1) t.odd[c] = first_sum<F::kLayout, kSub>(block_of_row(rows, R - 1));
  }
  (add_two_steps<F, R, kFirst + kEach, Fetch>(rows, planes, ahead, t), ...);
}
