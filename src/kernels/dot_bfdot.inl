// Pairs of bfloat16 in vectors of NEON. BFDOT rounds each of its sums alike wherever it stands, so
// that all heights of tiles agree; BFMMLA, which adds two pairs at once, is not used.

// Rows of a tile: 6 × 4 sums, four registers of weights and a pair of a row fit the 32 registers.
constexpr int kPanelRows = 6;
constexpr int kTileVectors = 2;

struct Pairs {
  bfloat16x8_t lo;
  bfloat16x8_t hi;
};
template <tensor::DType kType>
SLUICE_INLINE Pairs load_pairs(const std::byte* p) {
  static_assert(kType == tensor::DType::kBF16);
  const auto* bytes = reinterpret_cast<const uint8_t*>(p);
  return {vreinterpretq_bf16_u8(vld1q_u8(bytes)), vreinterpretq_bf16_u8(vld1q_u8(bytes + 16))};
}
SLUICE_INLINE Pairs broadcast_pair(const std::byte* p) {
  uint32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  const bfloat16x8_t all = vreinterpretq_bf16_u32(vdupq_n_u32(pair));
  return {all, all};
}
SLUICE_INLINE V dot(V sum, Pairs w, Pairs a) {
  return {vbfdotq_f32(sum.lo, w.lo, a.lo), vbfdotq_f32(sum.hi, w.hi, a.hi)};
}
SLUICE_INLINE void store_elements(std::byte* p, V a) { store_bf16_some(p, a, kLanes); }
