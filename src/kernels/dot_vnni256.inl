// The int8 dot product of AVX-VNNI.

struct Activations {
  __m256i v;
};
template <int kStep>
SLUICE_INLINE Activations activations(const std::byte* block) {
  return {broadcast_int(block + 4 * kStep).v};
}
struct Weights {
  __m256i v;
};
template <PanelLayout>
SLUICE_INLINE Weights weights_of(I a) { return {a.v}; }
template <int kStep>
SLUICE_INLINE I dot(I sum, Weights w, Activations a) {
  return {_mm256_dpbusd_avx_epi32(sum.v, w.v, a.v)};
}
