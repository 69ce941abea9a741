// Pairs of bfloat16 or float16 as floats, in vectors of AVX-512: each product in float32, one
// multiply-add an element, ascending.

// Rows of a tile, so that 2 × 12 sums, four weights and an element of a row fit the registers.
constexpr int kPanelRows = 12;
// Vectors of columns that a tile is wide.
constexpr int kTileVectors = 2;

struct Pairs {
  V even;
  V odd;
};

template <tensor::DType kType>
SLUICE_INLINE Pairs load_pairs(const std::byte* p) {
  if constexpr (kType == tensor::DType::kF16) return {load_f16(p), load_f16(p + kPlaneBytes / 2)};
  const __m512i both = _mm512_loadu_si512(p);
  const __m512i high = _mm512_set1_epi32(static_cast<int32_t>(0xFFFF0000));
  return {{_mm512_castsi512_ps(_mm512_slli_epi32(both, 16))},
          {_mm512_castsi512_ps(_mm512_and_si512(both, high))}};
}
// One pair in every lane.
SLUICE_INLINE Pairs broadcast_pair(const std::byte* p) {
  float pair[2];
  std::memcpy(pair, p, sizeof pair);
  return {set(pair[0]), set(pair[1])};
}
SLUICE_INLINE V dot(V sum, Pairs w, Pairs a) {
  return fma(w.odd, a.odd, fma(w.even, a.even, sum));
}
SLUICE_INLINE void store_elements(std::byte* p, V a) { std::memcpy(p, &a.v, sizeof a.v); }
