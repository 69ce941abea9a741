// The vector of AVX-512: 16 floats. Same names as vec_avx2.inl; included inside the namespace and
// the target attribute of an ISA's source files, after all other includes.

#define SLUICE_INLINE [[gnu::always_inline]] inline

struct V {
  __m512 v;
};
// Four floats: four sums over lanes.
using Four = __m128;

constexpr int kLanes = 16;
// Rows of a tile of floats, so that 2 × 12 sums, four weights and an element of a row fit the
// registers.
constexpr int kFloatTileRows = 12;

SLUICE_INLINE V operator+(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }
SLUICE_INLINE V operator-(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }
SLUICE_INLINE V operator*(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }
SLUICE_INLINE V operator/(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }
SLUICE_INLINE V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// When an operand is NaN the second one is the result.
SLUICE_INLINE V min(V a, V b) { return {_mm512_min_ps(a.v, b.v)}; }
SLUICE_INLINE V max(V a, V b) { return {_mm512_max_ps(a.v, b.v)}; }
SLUICE_INLINE V zero() { return {_mm512_setzero_ps()}; }
SLUICE_INLINE V set(float x) { return {_mm512_set1_ps(x)}; }
SLUICE_INLINE V abs(V a) { return {_mm512_abs_ps(a.v)}; }
SLUICE_INLINE V round_even(V a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a < b ? x : y, false for NaN.
SLUICE_INLINE V select_less(V a, V b, V x, V y) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}
// 2^n of integral n in -126 … 127.
SLUICE_INLINE V pow2(V n) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
}
// a < low ? 0 : x * 2^n, n integral and not below low where that counts.
SLUICE_INLINE V scale_unless_less(V a, V low, V x, V n) {
  return {_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(a.v, low.v, _CMP_NLT_UQ), x.v, n.v)};
}

SLUICE_INLINE __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1U << n) - 1); }

SLUICE_INLINE V load(const float* p) { return {_mm512_loadu_ps(p)}; }
SLUICE_INLINE void store(float* p, V a) { _mm512_storeu_ps(p, a.v); }
SLUICE_INLINE Four load_four(const float* p) { return _mm_loadu_ps(p); }
SLUICE_INLINE void store_four(float* p, Four a) { _mm_storeu_ps(p, a); }
// The first n lanes (0 … kLanes); the others are zero and their memory is not touched.
SLUICE_INLINE V load_some(const float* p, int n) {
  return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
SLUICE_INLINE void store_some(float* p, V a, int n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), a.v);
}

SLUICE_INLINE V widen_bf16(__m256i h) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))};
}
SLUICE_INLINE V load_f16(const std::byte* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
SLUICE_INLINE V load_f16_some(const std::byte* p, int n) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p))};
}
SLUICE_INLINE V load_bf16(const std::byte* p) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
SLUICE_INLINE V load_bf16_some(const std::byte* p, int n) {
  return widen_bf16(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
// Of pairs of BF16 each first one, and each second one.
SLUICE_INLINE V load_first_bf16(const std::byte* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
}
SLUICE_INLINE V load_second_bf16(const std::byte* p) {
  const __m512i high = _mm512_set1_epi32(static_cast<int32_t>(0xFFFF0000));
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), high))};
}
SLUICE_INLINE V load_i8(const std::byte* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}
SLUICE_INLINE V load_i8_some(const std::byte* p, int n) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first_lanes(n), p)))};
}
SLUICE_INLINE void store_f16_some(std::byte* p, V a, int n) {
  const __m256i h = _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm256_mask_storeu_epi16(p, first_lanes(n), h);
}
// Ties to even; a NaN stays one. In integers, as numbers too small for vcvtneps2bf16 are kept.
SLUICE_INLINE void store_bf16_some(std::byte* p, V a, int n) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i kept = _mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, is_nan, quiet), 16);
  _mm256_mask_storeu_epi16(p, first_lanes(n), _mm512_cvtepi32_epi16(kept));
}
// Integral values in -128 … 127.
SLUICE_INLINE void store_i8_some(std::byte* p, V a, int n) {
  _mm_mask_storeu_epi8(p, first_lanes(n), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a.v)));
}

// The order of every sum over lanes: i + (i + 8), then + 4, + 2, + 1. Four sums at once.
SLUICE_INLINE Four sum_lanes(V a, V b, V c, V d) {
  const __m512 ab =
      _mm512_add_ps(_mm512_shuffle_f32x4(a.v, b.v, 0x44), _mm512_shuffle_f32x4(a.v, b.v, 0xEE));
  const __m512 cd =
      _mm512_add_ps(_mm512_shuffle_f32x4(c.v, d.v, 0x44), _mm512_shuffle_f32x4(c.v, d.v, 0xEE));
  __m512 s = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
  s = _mm512_add_ps(s, _mm512_permute_ps(s, 0x4E));
  s = _mm512_add_ps(s, _mm512_permute_ps(s, 0xB1));
  const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, s));
}
SLUICE_INLINE float sum_lanes(V a) { return _mm_cvtss_f32(sum_lanes(a, a, a, a)); }
SLUICE_INLINE float max_lane(V a) { return _mm512_reduce_max_ps(a.v); }

// Neighbouring lanes: swapped; p[0 … n/2) with each element twice; a - b in even, a + b in odd.
SLUICE_INLINE V swap_neighbours(V a) { return {_mm512_permute_ps(a.v, 0xB1)}; }
SLUICE_INLINE V load_twice_some(const float* p, int n) {
  const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  return {_mm512_permutexvar_ps(twice, load_some(p, n / 2).v)};
}
SLUICE_INLINE V sub_add(V a, V b) {
  const __m512 negated = _mm512_castsi512_ps(
      _mm512_xor_si512(_mm512_castps_si512(b.v), _mm512_set1_epi64(int64_t{0x80000000})));
  return {_mm512_add_ps(a.v, negated)};
}
