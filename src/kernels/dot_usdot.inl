// The int8 dot product of processors that multiply int8 matrices: unsigned weights as they are.

constexpr bool kSignedDots = false;
// Rows of a tile: two pairs. Their 16 registers of integer sums and as many of floats are all there
// are, but a step of pairs is so short that float sums in memory cost less than an odd row.
constexpr int kPanelRows = 4;

struct Activations {
  int8x16_t v;
};
template <int kStep>
SLUICE_INLINE Activations activations(const std::byte* block) {
  return {quants_around<kStep>(block)};
}
struct Weights {
  uint8x16_t lo;
  uint8x16_t hi;
};
template <PanelLayout kLayout>
SLUICE_INLINE Weights weights_of(I a) {
  return {as_bytes(a.lo), as_bytes(a.hi)};
}
template <int kStep>
SLUICE_INLINE I dot(I sum, Weights w, Activations a) {
  return {vusdotq_laneq_s32(sum.lo, w.lo, a.v, kStep % 4),
          vusdotq_laneq_s32(sum.hi, w.hi, a.v, kStep % 4)};
}
