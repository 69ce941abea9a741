// Integer vectors of 256 bits: what panel_matmul.inl needs beside V and dot(). Same names as in
// dot_vnni512.inl, where what is not obvious is explained.

struct I {
  __m256i v;
};

// Rows of a tile, so that 2 × 3 sums of integers and as many of floats nearly fit the registers.
constexpr int kPanelRows = 3;
constexpr int kTileVectors = 2;
constexpr bool kSignedDots = false;

SLUICE_INLINE I load_plane(const std::byte* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
SLUICE_INLINE void store_plane(std::byte* p, I a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v);
}
SLUICE_INLINE I add_to_bytes(I a, int n) {
  return {_mm256_add_epi8(a.v, _mm256_set1_epi8(static_cast<char>(n)))};
}
SLUICE_INLINE I and_bits(I a, int mask) {
  return {_mm256_and_si256(a.v, _mm256_set1_epi8(static_cast<char>(mask)))};
}
SLUICE_INLINE I or_bits(I a, I b, int mask) { return {_mm256_or_si256(a.v, and_bits(b, mask).v)}; }
template <int N>
SLUICE_INLINE I shift_down(I a) {
  if constexpr (N > 0) return {_mm256_srli_epi16(a.v, N)};
  if constexpr (N < 0) return {_mm256_slli_epi16(a.v, -N)};
  return a;
}
SLUICE_INLINE I table_entries(const uint8_t* table, I indices) {
  const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return {_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), indices.v)};
}

SLUICE_INLINE I broadcast_int(const std::byte* p) {
  int32_t x;
  std::memcpy(&x, p, sizeof x);
  return {_mm256_set1_epi32(x)};
}
SLUICE_INLINE V broadcast_float(const std::byte* p) {
  float x;
  std::memcpy(&x, p, sizeof x);
  return set(x);
}
SLUICE_INLINE I ints(int32_t n) { return {_mm256_set1_epi32(n)}; }
SLUICE_INLINE V float_of_bits(I a) { return {_mm256_castsi256_ps(a.v)}; }

SLUICE_INLINE V bytes_to_float(__m128i bytes) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))};
}
SLUICE_INLINE V load_low_nibbles(const std::byte* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return bytes_to_float(_mm_and_si128(bytes, _mm_set1_epi8(15)));
}
SLUICE_INLINE V load_high_nibbles(const std::byte* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return bytes_to_float(_mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15)));
}

// No shortcut: panel_rows.inl packs all blocks alike.
SLUICE_INLINE bool pack_whole_block(const float*, std::byte*, int32_t (&)[2]) { return false; }
