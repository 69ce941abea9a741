// Pairs of bfloat16 in vectors of AVX-512.

// Rows of a tile, so that 2 × 12 sums, two weights and a pair of a row fit the registers.
constexpr int kPanelRows = 12;
// Vectors of columns that a tile is wide.
constexpr int kTileVectors = 2;

using Pairs = __m512bh;

template <tensor::DType kType>
SLUICE_INLINE Pairs load_pairs(const std::byte* p) {
  static_assert(kType == tensor::DType::kBF16);
  return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p));
}
// One pair in every lane.
SLUICE_INLINE Pairs broadcast_pair(const std::byte* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
}
SLUICE_INLINE V dot(V sum, Pairs w, Pairs a) { return {_mm512_dpbf16_ps(sum.v, w, a)}; }
// Rounded to nearest, ties to even.
SLUICE_INLINE void store_elements(std::byte* p, V a) {
  const __m256bh rounded = _mm512_cvtneps_pbh(a.v);
  std::memcpy(p, &rounded, sizeof rounded);
}
