// The int8 dot product in AVX2: bytes widened to words, since products of unsigned bytes with
// signed ones overflow the words that vpmaddubsw adds them in.

// Bytes 0 and 2, and bytes 1 and 3, of every lane.
struct Activations {
  __m256i even;
  __m256i odd;
};
template <int kStep>
SLUICE_INLINE Activations activations(const std::byte* block) {
  const __m256i four = broadcast_int(block + 4 * kStep).v;
  return {_mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8), _mm256_srai_epi16(four, 8)};
}
struct Weights {
  __m256i even;
  __m256i odd;
};
template <PanelLayout>
SLUICE_INLINE Weights weights_of(I a) {
  return {_mm256_and_si256(a.v, _mm256_set1_epi16(255)), _mm256_srli_epi16(a.v, 8)};
}
template <int kStep>
SLUICE_INLINE I dot(I sum, Weights w, Activations a) {
  const __m256i products =
      _mm256_add_epi32(_mm256_madd_epi16(w.even, a.even), _mm256_madd_epi16(w.odd, a.odd));
  return {_mm256_add_epi32(sum.v, products)};
}
