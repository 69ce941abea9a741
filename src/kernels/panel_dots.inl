// The dot products of a part of a block with rows, one row at a time by dot().

template <int R>
struct IntSums {
  I sums[R][kTileVectors];

  SLUICE_INLINE I of(int row, int vector) const { return sums[row][vector]; }
};

template <typename F, int R, int kStep, typename Fetch>
SLUICE_INLINE void add_step(const std::byte* rows, const std::byte* const* planes,
                            const std::byte* ahead, IntSums<R>& t) {
  Fetch::at_step(ahead, kStep);
  Weights w[kTileVectors];
  for (int c = 0; c < kTileVectors; ++c) {
    w[c] = F::template weights<kStep>(planes[c], lane_of(c));
  }
  for (int r = 0; r < R; ++r) {
    const Activations a = activations<kStep>(block_of_row(rows, r));
    for (int c = 0; c < kTileVectors; ++c) t.sums[r][c] = dot<kStep>(t.sums[r][c], w[c], a);
  }
}

// Part kSub of a block, whose steps are kEach plus those of the parts before.
template <typename F, int R, int kSub, typename Fetch, int... kEach>
SLUICE_INLINE void add_steps(const std::byte* rows, const std::byte* const* planes,
                             const std::byte* ahead, IntSums<R>& t,
                             std::integer_sequence<int, kEach...>) {
  for (int r = 0; r < R; ++r) {
    const I start = first_sum<F::kLayout, kSub>(block_of_row(rows, r));
    for (int c = 0; c < kTileVectors; ++c) t.sums[r][c] = start;
  }
  constexpr int kFirst = kSub * static_cast<int>(sizeof...(kEach));
  (add_step<F, R, kFirst + kEach, Fetch>(rows, planes, ahead, t), ...);
}
