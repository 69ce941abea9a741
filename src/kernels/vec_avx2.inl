// The vector of AVX2 with FMA and F16C: 8 floats. Same names as vec_avx512.inl, where what is not
// obvious is explained.

#define SLUICE_INLINE [[gnu::always_inline]] inline

struct V {
  __m256 v;
};
using Four = __m128;

constexpr int kLanes = 8;
// Rows of a tile of floats: 2 × 4 sums, four weights, a mask and an element of a row fit the
// registers; with a fifth row they would not.
constexpr int kFloatTileRows = 4;

SLUICE_INLINE V operator+(V a, V b) { return {_mm256_add_ps(a.v, b.v)}; }
SLUICE_INLINE V operator-(V a, V b) { return {_mm256_sub_ps(a.v, b.v)}; }
SLUICE_INLINE V operator*(V a, V b) { return {_mm256_mul_ps(a.v, b.v)}; }
SLUICE_INLINE V operator/(V a, V b) { return {_mm256_div_ps(a.v, b.v)}; }
SLUICE_INLINE V fma(V a, V b, V c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
SLUICE_INLINE V min(V a, V b) { return {_mm256_min_ps(a.v, b.v)}; }
SLUICE_INLINE V max(V a, V b) { return {_mm256_max_ps(a.v, b.v)}; }
SLUICE_INLINE V zero() { return {_mm256_setzero_ps()}; }
SLUICE_INLINE V set(float x) { return {_mm256_set1_ps(x)}; }
SLUICE_INLINE V abs(V a) {
  return {_mm256_and_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF)))};
}
SLUICE_INLINE V round_even(V a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
SLUICE_INLINE V select_less(V a, V b, V x, V y) {
  return {_mm256_blendv_ps(y.v, x.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
SLUICE_INLINE V pow2(V n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
}
SLUICE_INLINE V scale_unless_less(V a, V low, V x, V n) {
  return {_mm256_andnot_ps(_mm256_cmp_ps(a.v, low.v, _CMP_LT_OQ), (x * pow2(n)).v)};
}

SLUICE_INLINE __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SLUICE_INLINE V load(const float* p) { return {_mm256_loadu_ps(p)}; }
SLUICE_INLINE void store(float* p, V a) { _mm256_storeu_ps(p, a.v); }
SLUICE_INLINE Four load_four(const float* p) { return _mm_loadu_ps(p); }
SLUICE_INLINE void store_four(float* p, Four a) { _mm_storeu_ps(p, a); }
// Masked moves are slow on some processors, and nearly all vectors are whole.
SLUICE_INLINE V load_some(const float* p, int n) {
  return n == kLanes ? load(p) : V{_mm256_maskload_ps(p, first_lanes(n))};
}
SLUICE_INLINE void store_some(float* p, V a, int n) {
  if (n == kLanes) return store(p, a);
  _mm256_maskstore_ps(p, first_lanes(n), a.v);
}

SLUICE_INLINE V widen_f16(__m128i h) { return {_mm256_cvtph_ps(h)}; }
SLUICE_INLINE V widen_bf16(__m128i h) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16))};
}
SLUICE_INLINE __m128i load_halves_some(const std::byte* p, int n) {
  alignas(16) std::byte padded[16] = {};
  std::memcpy(padded, p, static_cast<size_t>(n) * 2);
  return _mm_load_si128(reinterpret_cast<const __m128i*>(padded));
}
SLUICE_INLINE V load_f16(const std::byte* p) {
  return widen_f16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
SLUICE_INLINE V load_f16_some(const std::byte* p, int n) {
  return widen_f16(load_halves_some(p, n));
}
SLUICE_INLINE V load_bf16(const std::byte* p) {
  return widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
SLUICE_INLINE V load_bf16_some(const std::byte* p, int n) {
  return widen_bf16(load_halves_some(p, n));
}
SLUICE_INLINE V load_first_bf16(const std::byte* p) {
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16))};
}
SLUICE_INLINE V load_second_bf16(const std::byte* p) {
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i high = _mm256_set1_epi32(static_cast<int32_t>(0xFFFF0000));
  return {_mm256_castsi256_ps(_mm256_and_si256(pairs, high))};
}
SLUICE_INLINE V load_i8(const std::byte* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))};
}
SLUICE_INLINE V load_i8_some(const std::byte* p, int n) {
  alignas(16) std::byte padded[16] = {};
  std::memcpy(padded, p, static_cast<size_t>(n));
  return load_i8(padded);
}
SLUICE_INLINE void store_f16_some(std::byte* p, V a, int n) {
  alignas(16) std::byte halves[16];
  const __m128i h = _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm_store_si128(reinterpret_cast<__m128i*>(halves), h);
  std::memcpy(p, halves, static_cast<size_t>(n) * 2);
}
SLUICE_INLINE void store_bf16_some(std::byte* p, V a, int n) {
  const __m256i bits = _mm256_castps_si256(a.v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  const __m256i kept = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
  const __m128i halves =
      _mm_packus_epi32(_mm256_castsi256_si128(kept), _mm256_extracti128_si256(kept, 1));
  alignas(16) std::byte bytes[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(bytes), halves);
  std::memcpy(p, bytes, static_cast<size_t>(n) * 2);
}
SLUICE_INLINE void store_i8_some(std::byte* p, V a, int n) {
  const __m256i q = _mm256_cvtps_epi32(a.v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
  alignas(16) std::byte bytes[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(bytes), _mm_packs_epi16(words, words));
  std::memcpy(p, bytes, static_cast<size_t>(n));
}

// The order of every sum over lanes: i + (i + 4), then + 2, + 1. Four sums at once.
SLUICE_INLINE Four sum_lanes(V a, V b, V c, V d) {
  const __m256 ab =
      _mm256_add_ps(_mm256_permute2f128_ps(a.v, b.v, 0x20), _mm256_permute2f128_ps(a.v, b.v, 0x31));
  const __m256 cd =
      _mm256_add_ps(_mm256_permute2f128_ps(c.v, d.v, 0x20), _mm256_permute2f128_ps(c.v, d.v, 0x31));
  // Now [a c | b d], two lanes each.
  const __m256 s = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
  const __m256 t = _mm256_add_ps(_mm256_shuffle_ps(s, s, 0x88), _mm256_shuffle_ps(s, s, 0xDD));
  return _mm_unpacklo_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1));
}
SLUICE_INLINE float sum_lanes(V a) { return _mm_cvtss_f32(sum_lanes(a, a, a, a)); }
SLUICE_INLINE float max_lane(V a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  m = _mm_max_ps(m, _mm_permute_ps(m, 0x4E));
  return _mm_cvtss_f32(_mm_max_ps(m, _mm_permute_ps(m, 0xB1)));
}

SLUICE_INLINE V swap_neighbours(V a) { return {_mm256_permute_ps(a.v, 0xB1)}; }
SLUICE_INLINE V load_twice_some(const float* p, int n) {
  const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  return {_mm256_permutevar8x32_ps(load_some(p, n / 2).v, twice)};
}
SLUICE_INLINE V sub_add(V a, V b) { return {_mm256_addsub_ps(a.v, b.v)}; }
