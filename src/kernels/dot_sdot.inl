// The int8 dot product by SDOT, with four of the sixteen quants that one load brings.

struct Activations {
  int8x16_t v;
};
template <int kStep>
SLUICE_INLINE Activations activations(const std::byte* block) {
  return {quants_around<kStep>(block)};
}
template <int kStep>
SLUICE_INLINE I dot(I sum, Weights w, Activations a) {
  return {vdotq_laneq_s32(sum.lo, w.lo, a.v, kStep % 4),
          vdotq_laneq_s32(sum.hi, w.hi, a.v, kStep % 4)};
}
