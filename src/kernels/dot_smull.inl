// The int8 dot product in plain NEON. Two products of signed bytes, of which a row's are above
// -128, fit the 16 bits that they are added in.

struct Activations {
  int8x16_t v;
};
template <int kStep>
SLUICE_INLINE Activations activations(const std::byte* block) {
  int32x4_t four = vdupq_n_s32(load_int(block + 4 * kStep));
  // Else the compiler takes the upper halves of weights to registers of their own.
  asm("" : "+w"(four));
  return {vreinterpretq_s8_s32(four)};
}
SLUICE_INLINE int32x4_t add_products(int32x4_t sum, int8x16_t w, int8x16_t a) {
  const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(a));
  return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(w, a)));
}
template <int kStep>
SLUICE_INLINE I dot(I sum, Weights w, Activations a) {
  return {add_products(sum.lo, w.lo, a.v), add_products(sum.hi, w.hi, a.v)};
}
