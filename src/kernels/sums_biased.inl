// How integer sums of quants become floats: by their bits. A sum that begins with the bits of
// 1.5 * 2^23 is, read as a float, 1.5 * 2^23 more than it is, as far as 2^22 to both sides; a
// multiply-add with the scale takes that off again and rounds once, as conversion and product
// would. Each result saves an instruction on the ports of the dot products.
//
// All zero points are 128: quants that have less are moved up by as many bits, and their scale is
// as much smaller, so that one number begins the sums of all types.

constexpr float kBias = 12582912.0F;
constexpr int32_t kBiasBits = std::bit_cast<int32_t>(kBias);
constexpr int kZero = 128;

constexpr int moved_up(const PanelLayout& layout) {
  return layout.zero_shift == 0 ? 0 : 7 - layout.zero_shift;
}
constexpr float kMinFactor = 1.0F / kZero;

SLUICE_INLINE void store_sums(int32_t first, int32_t second, std::byte* block) {
  const int32_t sums[3] = {kBiasBits - kZero * (first + second), kBiasBits - kZero * first,
                           kBiasBits - kZero * second};
  std::memcpy(block + offsetof(Int8Block, sum), sums, sizeof sums);
}

template <PanelLayout kLayout, int kSub>
SLUICE_INLINE I first_sum(const std::byte* block) {
  if constexpr (kLayout.zero_shift == 0) {
    return ints(kBiasBits);
  } else {
    return broadcast_int(block + sum_offset(kLayout.subs, kSub));
  }
}

template <PanelLayout kLayout, int kSub>
SLUICE_INLINE V row_sum(const std::byte* block) {
  return broadcast_float(block + sum_offset(kLayout.subs, kSub)) - set(kBias);
}

struct Scale {
  V factor;
  V offset;
};
SLUICE_INLINE Scale scale_of(V factor) { return {factor, factor * set(-kBias)}; }
SLUICE_INLINE V scaled(I sum, const Scale& scale) {
  return fma(float_of_bits(sum), scale.factor, scale.offset);
}
