// Weights for dot products of signed bytes alone: those with zero point 128 lose it, all others are
// below 128.

constexpr bool kSignedDots = true;
// Rows of a tile: 3 × 4 registers of integer sums and as many of floats leave eight.
constexpr int kPanelRows = 3;

struct Weights {
  int8x16_t lo;
  int8x16_t hi;
};
template <PanelLayout kLayout>
SLUICE_INLINE Weights weights_of(I a) {
  const uint8x16_t flips = vdupq_n_u8(kLayout.zero_shift == 7 ? 0x80 : 0);
  return {vreinterpretq_s8_u8(veorq_u8(as_bytes(a.lo), flips)),
          vreinterpretq_s8_u8(veorq_u8(as_bytes(a.hi), flips))};
}
