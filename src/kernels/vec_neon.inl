// The vector of NEON: 8 floats in two registers, of which 64-bit ARM has twice as many as AVX2,
// half as wide. Same names as in vec_avx512.inl, where what is not obvious is explained; sums over
// lanes in the order of vec_avx2.inl.

#define SLUICE_INLINE [[gnu::always_inline]] inline

struct V {
  float32x4_t lo;
  float32x4_t hi;
};
using Four = float32x4_t;

constexpr int kLanes = 8;
// Rows of a tile of floats, so that 2 × 5 sums and four weights, of two registers each, and an
// element of a row fit the 32.
constexpr int kFloatTileRows = 5;

SLUICE_INLINE V operator+(V a, V b) { return {vaddq_f32(a.lo, b.lo), vaddq_f32(a.hi, b.hi)}; }
SLUICE_INLINE V operator-(V a, V b) { return {vsubq_f32(a.lo, b.lo), vsubq_f32(a.hi, b.hi)}; }
SLUICE_INLINE V operator*(V a, V b) { return {vmulq_f32(a.lo, b.lo), vmulq_f32(a.hi, b.hi)}; }
SLUICE_INLINE V operator/(V a, V b) { return {vdivq_f32(a.lo, b.lo), vdivq_f32(a.hi, b.hi)}; }
SLUICE_INLINE V fma(V a, V b, V c) {
  return {vfmaq_f32(c.lo, a.lo, b.lo), vfmaq_f32(c.hi, a.hi, b.hi)};
}
SLUICE_INLINE V select_less(V a, V b, V x, V y) {
  return {vbslq_f32(vcltq_f32(a.lo, b.lo), x.lo, y.lo),
          vbslq_f32(vcltq_f32(a.hi, b.hi), x.hi, y.hi)};
}
// By comparisons: the instructions for it treat a NaN otherwise.
SLUICE_INLINE V min(V a, V b) { return select_less(a, b, a, b); }
SLUICE_INLINE V max(V a, V b) { return select_less(b, a, a, b); }
SLUICE_INLINE V zero() { return {vdupq_n_f32(0), vdupq_n_f32(0)}; }
SLUICE_INLINE V set(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
SLUICE_INLINE V abs(V a) { return {vabsq_f32(a.lo), vabsq_f32(a.hi)}; }
SLUICE_INLINE V round_even(V a) { return {vrndnq_f32(a.lo), vrndnq_f32(a.hi)}; }
SLUICE_INLINE float32x4_t pow2(float32x4_t n) {
  const int32x4_t biased = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
  return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
}
SLUICE_INLINE V pow2(V n) { return {pow2(n.lo), pow2(n.hi)}; }
SLUICE_INLINE V scale_unless_less(V a, V low, V x, V n) {
  return select_less(a, low, zero(), x * pow2(n));
}

SLUICE_INLINE V load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
SLUICE_INLINE void store(float* p, V a) {
  vst1q_f32(p, a.lo);
  vst1q_f32(p + 4, a.hi);
}
SLUICE_INLINE Four load_four(const float* p) { return vld1q_f32(p); }
SLUICE_INLINE void store_four(float* p, Four a) { vst1q_f32(p, a); }
// There are no masked moves: parts of vectors go through memory, out of the way of loops over whole
// ones.
[[gnu::noinline]] V load_part(const float* p, int n) {
  float padded[kLanes] = {};
  std::memcpy(padded, p, static_cast<size_t>(n) * sizeof(float));
  return load(padded);
}
[[gnu::noinline]] void store_part(float* p, V a, int n) {
  float all[kLanes];
  store(all, a);
  std::memcpy(p, all, static_cast<size_t>(n) * sizeof(float));
}
SLUICE_INLINE V load_some(const float* p, int n) { return n == kLanes ? load(p) : load_part(p, n); }
SLUICE_INLINE void store_some(float* p, V a, int n) {
  if (n == kLanes) return store(p, a);
  store_part(p, a, n);
}

SLUICE_INLINE uint16x8_t load_halves(const std::byte* p) {
  return vreinterpretq_u16_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(p)));
}
SLUICE_INLINE uint16x8_t load_halves_some(const std::byte* p, int n) {
  std::byte padded[2 * kLanes] = {};
  std::memcpy(padded, p, static_cast<size_t>(n) * 2);
  return load_halves(padded);
}
SLUICE_INLINE V widen_f16(uint16x8_t h) {
  const float16x8_t f = vreinterpretq_f16_u16(h);
  return {vcvt_f32_f16(vget_low_f16(f)), vcvt_high_f32_f16(f)};
}
SLUICE_INLINE V widen_bf16(uint16x8_t h) {
  return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16)),
          vreinterpretq_f32_u32(vshll_high_n_u16(h, 16))};
}
SLUICE_INLINE V load_f16(const std::byte* p) { return widen_f16(load_halves(p)); }
SLUICE_INLINE V load_f16_some(const std::byte* p, int n) {
  return widen_f16(load_halves_some(p, n));
}
SLUICE_INLINE V load_bf16(const std::byte* p) { return widen_bf16(load_halves(p)); }
SLUICE_INLINE V load_bf16_some(const std::byte* p, int n) {
  return widen_bf16(load_halves_some(p, n));
}
SLUICE_INLINE uint32x4_t load_bf16_pairs(const std::byte* p) {
  return vreinterpretq_u32_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(p)));
}
SLUICE_INLINE float32x4_t first_of_pairs(uint32x4_t pairs) {
  return vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16));
}
SLUICE_INLINE float32x4_t second_of_pairs(uint32x4_t pairs) {
  return vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xFFFF0000)));
}
SLUICE_INLINE V load_first_bf16(const std::byte* p) {
  return {first_of_pairs(load_bf16_pairs(p)), first_of_pairs(load_bf16_pairs(p + 16))};
}
SLUICE_INLINE V load_second_bf16(const std::byte* p) {
  return {second_of_pairs(load_bf16_pairs(p)), second_of_pairs(load_bf16_pairs(p + 16))};
}
SLUICE_INLINE V load_i8(const std::byte* p) {
  const int16x8_t words = vmovl_s8(vld1_s8(reinterpret_cast<const int8_t*>(p)));
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))), vcvtq_f32_s32(vmovl_high_s16(words))};
}
SLUICE_INLINE V load_i8_some(const std::byte* p, int n) {
  std::byte padded[kLanes] = {};
  std::memcpy(padded, p, static_cast<size_t>(n));
  return load_i8(padded);
}
SLUICE_INLINE void store_f16_some(std::byte* p, V a, int n) {
  const float16x8_t h = vcvt_high_f16_f32(vcvt_f16_f32(a.lo), a.hi);
  std::memcpy(p, &h, static_cast<size_t>(n) * 2);
}
// The sums of BFCVTN, which not every processor has; a NaN stays one.
SLUICE_INLINE uint32x4_t round_to_bf16(float32x4_t a) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7FFF)), odd);
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x00400000));
  return vbslq_u32(vceqq_f32(a, a), rounded, quiet);
}
SLUICE_INLINE uint16x8_t narrow_bf16(V a) {
  return vshrn_high_n_u32(vshrn_n_u32(round_to_bf16(a.lo), 16), round_to_bf16(a.hi), 16);
}
SLUICE_INLINE void store_bf16_some(std::byte* p, V a, int n) {
  const uint16x8_t h = narrow_bf16(a);
  std::memcpy(p, &h, static_cast<size_t>(n) * 2);
}
SLUICE_INLINE void store_i8_some(std::byte* p, V a, int n) {
  const int16x4_t low = vqmovn_s32(vcvtnq_s32_f32(a.lo));
  const int8x8_t q = vqmovn_s16(vqmovn_high_s32(low, vcvtnq_s32_f32(a.hi)));
  std::memcpy(p, &q, static_cast<size_t>(n));
}

// The order of every sum over lanes: i + (i + 4), then + 2, + 1. Four sums at once.
SLUICE_INLINE float64x2_t as_pairs(float32x4_t a) { return vreinterpretq_f64_f32(a); }
SLUICE_INLINE float32x4_t add_pairs(V a, V b) {
  const float32x4_t s = vaddq_f32(a.lo, a.hi), t = vaddq_f32(b.lo, b.hi);
  return vaddq_f32(vreinterpretq_f32_f64(vzip1q_f64(as_pairs(s), as_pairs(t))),
                   vreinterpretq_f32_f64(vzip2q_f64(as_pairs(s), as_pairs(t))));
}
SLUICE_INLINE Four sum_lanes(V a, V b, V c, V d) {
  return vpaddq_f32(add_pairs(a, b), add_pairs(c, d));
}
SLUICE_INLINE float sum_lanes(V a) { return vgetq_lane_f32(sum_lanes(a, a, a, a), 0); }
// NaNs are passed over.
SLUICE_INLINE float max_lane(V a) { return vmaxnmvq_f32(vmaxnmq_f32(a.lo, a.hi)); }

SLUICE_INLINE V swap_neighbours(V a) { return {vrev64q_f32(a.lo), vrev64q_f32(a.hi)}; }
SLUICE_INLINE V load_twice_some(const float* p, int n) {
  float padded[4] = {};
  if (n < kLanes) std::memcpy(padded, p, static_cast<size_t>(n / 2) * sizeof(float));
  const float32x4_t a = vld1q_f32(n < kLanes ? padded : p);
  return {vzip1q_f32(a, a), vzip2q_f32(a, a)};
}
SLUICE_INLINE float32x4_t negate_even(float32x4_t a) {
  const uint32x4_t signs = vreinterpretq_u32_u64(vdupq_n_u64(0x80000000U));
  return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a), signs));
}
SLUICE_INLINE V sub_add(V a, V b) { return a + V{negate_even(b.lo), negate_even(b.hi)}; }
