// Integer vectors of AVX-512 with VNNI: what panel_matmul.inl needs beside V. Same names as in the
// other dot_*.inl.

struct I {
  __m512i v;
};

// Rows of a tile. Of six, 2 × 6 sums of integers and as many of floats, two weights, their scales
// and an activation just fit the registers; of eight, some sums are in memory between blocks.
constexpr int kPanelRows = 8;
constexpr int kUsualRows = 5;
constexpr int kTallRows = 6;
// Vectors of columns that a tile is wide.
constexpr int kTileVectors = 2;
// Weights with zero point 128 lose it in weights_of(), instead of in the first sum.
constexpr bool kSignedDots = false;

SLUICE_INLINE I load_plane(const std::byte* p) { return {_mm512_loadu_si512(p)}; }
SLUICE_INLINE void store_plane(std::byte* p, I a) { _mm512_storeu_si512(p, a.v); }
SLUICE_INLINE I add_to_bytes(I a, int n) {
  return {_mm512_add_epi8(a.v, _mm512_set1_epi8(static_cast<char>(n)))};
}
SLUICE_INLINE I and_bits(I a, int mask) {
  return {_mm512_and_si512(a.v, _mm512_set1_epi8(static_cast<char>(mask)))};
}
// Bits of `b` under the mask put into `a`, where they are zero.
SLUICE_INLINE I or_bits(I a, I b, int mask) {
  const __m512i bits = _mm512_set1_epi8(static_cast<char>(mask));
  return {_mm512_ternarylogic_epi32(a.v, b.v, bits, 0xF8)};
}
// Shifts that move bits between bytes as well: to be masked.
template <int N>
SLUICE_INLINE I shift_down(I a) {
  if constexpr (N > 0) return {_mm512_srli_epi16(a.v, N)};
  if constexpr (N < 0) return {_mm512_slli_epi16(a.v, -N)};
  return a;
}
SLUICE_INLINE I table_entries(const uint8_t* table, I indices) {
  const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), indices.v)};
}

// Four signed bytes of a row's block, those of step kStep, in every lane.
struct Activations {
  __m512i v;
};
template <int kStep>
SLUICE_INLINE Activations activations(const std::byte* block) {
  int32_t four;
  std::memcpy(&four, block + 4 * kStep, sizeof four);
  return {_mm512_set1_epi32(four)};
}
// What dot() takes of a vector of weights.
struct Weights {
  __m512i v;
};
template <PanelLayout>
SLUICE_INLINE Weights weights_of(I a) { return {a.v}; }
// sum += the four products of each lane, exactly.
template <int kStep>
SLUICE_INLINE I dot(I sum, Weights w, Activations a) {
  return {_mm512_dpbusd_epi32(sum.v, w.v, a.v)};
}

SLUICE_INLINE I broadcast_int(const std::byte* p) {
  int32_t x;
  std::memcpy(&x, p, sizeof x);
  return {_mm512_set1_epi32(x)};
}
SLUICE_INLINE I ints(int32_t n) { return {_mm512_set1_epi32(n)}; }
SLUICE_INLINE V float_of_bits(I a) { return {_mm512_castsi512_ps(a.v)}; }

// Unsigned nibbles of kLanes bytes.
SLUICE_INLINE V load_low_nibbles(const std::byte* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(bytes, _mm_set1_epi8(15))))};
}
SLUICE_INLINE V load_high_nibbles(const std::byte* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(high))};
}
SLUICE_INLINE V broadcast_float(const std::byte* p) {
  float x;
  std::memcpy(&x, p, sizeof x);
  return set(x);
}

// One whole block as panel_rows.inl packs it, but for the sums of its halves; false, and nothing
// written, if it holds no numbers or only tiny ones. `largest` of the bits of absolute values sees
// a NaN as the largest of all.
SLUICE_INLINE bool pack_whole_block(const float* x, std::byte* out, int32_t (&half_sums)[2]) {
  const __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
  const __m512i top = _mm512_max_epu32(_mm512_castps_si512(_mm512_abs_ps(a)),
                                       _mm512_castps_si512(_mm512_abs_ps(b)));
  __m256i t = _mm256_max_epu32(_mm512_castsi512_si256(top), _mm512_extracti64x4_epi64(top, 1));
  __m128i u = _mm_max_epu32(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1));
  u = _mm_max_epu32(u, _mm_shuffle_epi32(u, 0x4E));
  u = _mm_max_epu32(u, _mm_shuffle_epi32(u, 0xB1));
  const float largest = _mm_cvtss_f32(_mm_castsi128_ps(u));
  if (!(largest >= kTinyRow && largest <= std::numeric_limits<float>::max())) return false;
  const __m512 inverse = _mm512_set1_ps(127.0F / largest);
  const __m128i qa = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(a, inverse)));
  const __m128i qb = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(b, inverse)));
  const __m256i q = _mm256_set_m128i(qb, qa);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), q);
  const __m256i fours = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), q);
  __m128i sums = _mm_hadd_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  sums = _mm_hadd_epi32(sums, sums);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(half_sums), sums);
  const float scale = largest * kRowScale;
  std::memcpy(out + offsetof(Int8Block, scale), &scale, sizeof scale);
  return true;
}
