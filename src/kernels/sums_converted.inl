// How integer sums of quants become floats: converted. Same names as in sums_biased.inl.

// Bits by which quants are moved up before they are multiplied.
constexpr int moved_up(const PanelLayout&) { return 0; }
// What mins are multiplied with, as row_sum() is that much too large.
constexpr float kMinFactor = 1.0F;

// Leaves what the kernels want of a block's quants, from their sums over each half.
SLUICE_INLINE void store_sums(int32_t first, int32_t second, std::byte* block) {
  const int32_t sums[3] = {-(first + second), -first, -second};
  std::memcpy(block + offsetof(Int8Block, sum), sums, sizeof sums);
}

// What the dot products of part kSub of a row's block begin with: their zero point's share.
template <PanelLayout kLayout, int kSub>
SLUICE_INLINE I first_sum(const std::byte* block) {
  constexpr int kShift = kLayout.zero_shift;
  if constexpr (kShift == 0 || (kSignedDots && kShift == 7)) {
    return ints(0);
  } else {
    return times_power<kShift>(broadcast_int(block + sum_offset(kLayout.subs, kSub)));
  }
}

// Minus the sum of the row's quants in that part, over kMinFactor.
template <PanelLayout kLayout, int kSub>
SLUICE_INLINE V row_sum(const std::byte* block) {
  return to_float(broadcast_int(block + sum_offset(kLayout.subs, kSub)));
}

// A vector of weights' scales, and a sum times that.
struct Scale {
  V factor;
};
SLUICE_INLINE Scale scale_of(V factor) { return {factor}; }
SLUICE_INLINE V scaled(I sum, const Scale& scale) { return to_float(sum) * scale.factor; }
