// The int8 dot product of AVX-VNNI.

struct Activations {
  __m256i v;
};
SLUICE_INLINE Activations broadcast_activations(const std::byte* p) { return {broadcast_int(p).v}; }
struct Weights {
  __m256i v;
};
SLUICE_INLINE Weights weights_of(I a) { return {a.v}; }
SLUICE_INLINE I dot(I sum, Weights w, Activations a) {
  return {_mm256_dpbusd_avx_epi32(sum.v, w.v, a.v)};
}
