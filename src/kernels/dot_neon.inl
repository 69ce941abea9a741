// Integer vectors of NEON, two registers as in vec_neon.inl: what panel_matmul.inl needs beside V
// and the dot products. Same names as in dot_vnni512.inl, where what is not obvious is explained.

struct I {
  int32x4_t lo;
  int32x4_t hi;
};

constexpr int kTileVectors = 2;

SLUICE_INLINE uint8x16_t as_bytes(int32x4_t a) { return vreinterpretq_u8_s32(a); }
SLUICE_INLINE I of_bytes(uint8x16_t lo, uint8x16_t hi) {
  return {vreinterpretq_s32_u8(lo), vreinterpretq_s32_u8(hi)};
}

SLUICE_INLINE I load_plane(const std::byte* p) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(p);
  return of_bytes(vld1q_u8(bytes), vld1q_u8(bytes + 16));
}
SLUICE_INLINE void store_plane(std::byte* p, I a) {
  auto* bytes = reinterpret_cast<uint8_t*>(p);
  vst1q_u8(bytes, as_bytes(a.lo));
  vst1q_u8(bytes + 16, as_bytes(a.hi));
}
SLUICE_INLINE I add_to_bytes(I a, int n) {
  const uint8x16_t more = vdupq_n_u8(static_cast<uint8_t>(n));
  return of_bytes(vaddq_u8(as_bytes(a.lo), more), vaddq_u8(as_bytes(a.hi), more));
}
SLUICE_INLINE I and_bits(I a, int mask) {
  const uint8x16_t bits = vdupq_n_u8(static_cast<uint8_t>(mask));
  return of_bytes(vandq_u8(as_bytes(a.lo), bits), vandq_u8(as_bytes(a.hi), bits));
}
SLUICE_INLINE I or_bits(I a, I b, int mask) {
  const I bits = and_bits(b, mask);
  return {vorrq_s32(a.lo, bits.lo), vorrq_s32(a.hi, bits.hi)};
}
template <int N>
SLUICE_INLINE I shift_down(I a) {
  if constexpr (N > 0) {
    return of_bytes(vshrq_n_u8(as_bytes(a.lo), N), vshrq_n_u8(as_bytes(a.hi), N));
  }
  if constexpr (N < 0) {
    return of_bytes(vshlq_n_u8(as_bytes(a.lo), -N), vshlq_n_u8(as_bytes(a.hi), -N));
  }
  return a;
}
SLUICE_INLINE I table_entries(const uint8_t* table, I indices) {
  const uint8x16_t t = vld1q_u8(table);
  return of_bytes(vqtbl1q_u8(t, as_bytes(indices.lo)), vqtbl1q_u8(t, as_bytes(indices.hi)));
}

SLUICE_INLINE int32_t load_int(const std::byte* p) {
  int32_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
SLUICE_INLINE I broadcast_int(const std::byte* p) {
  return {vdupq_n_s32(load_int(p)), vdupq_n_s32(load_int(p))};
}
SLUICE_INLINE V broadcast_float(const std::byte* p) {
  float x;
  std::memcpy(&x, p, sizeof x);
  return set(x);
}
SLUICE_INLINE I ints(int32_t n) { return {vdupq_n_s32(n), vdupq_n_s32(n)}; }
template <int N>
SLUICE_INLINE I times_power(I a) {
  return {vshlq_n_s32(a.lo, N), vshlq_n_s32(a.hi, N)};
}
SLUICE_INLINE V to_float(I a) { return {vcvtq_f32_s32(a.lo), vcvtq_f32_s32(a.hi)}; }

SLUICE_INLINE V bytes_to_float(uint8x8_t bytes) {
  const uint16x8_t words = vmovl_u8(bytes);
  return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))), vcvtq_f32_u32(vmovl_high_u16(words))};
}
SLUICE_INLINE V load_low_nibbles(const std::byte* p) {
  return bytes_to_float(vand_u8(vld1_u8(reinterpret_cast<const uint8_t*>(p)), vdup_n_u8(15)));
}
SLUICE_INLINE V load_high_nibbles(const std::byte* p) {
  return bytes_to_float(vshr_n_u8(vld1_u8(reinterpret_cast<const uint8_t*>(p)), 4));
}

// Sixteen of a row's quants: those of the four steps that kStep is one of.
template <int kStep>
SLUICE_INLINE int8x16_t quants_around(const std::byte* block) {
  return vld1q_s8(reinterpret_cast<const int8_t*>(block) + kStep / 4 * 16);
}

// No shortcut: panel_rows.inl packs all blocks alike.
SLUICE_INLINE bool pack_whole_block(const float*, std::byte*, int32_t (&)[2]) { return false; }
