// Pairs of weights as floats: each product in float32, one multiply-add an element, ascending.

constexpr int kPanelRows = kFloatTileRows;
// Vectors of columns that a tile is wide.
constexpr int kTileVectors = 2;

struct Pairs {
  V first;
  V second;
};

template <tensor::DType kType>
SLUICE_INLINE Pairs load_pairs(const std::byte* p) {
  using enum tensor::DType;
  static_assert(kType == kF32 || kType == kF16 || kType == kBF16);
  if constexpr (kType == kF16) return {load_f16(p), load_f16(p + kPlaneBytes / 2)};
  if constexpr (kType == kBF16) return {load_first_bf16(p), load_second_bf16(p)};
  const auto* floats = reinterpret_cast<const float*>(p);
  return {load(floats), load(floats + kHalfColumns)};
}
// One pair in every lane.
SLUICE_INLINE Pairs broadcast_pair(const std::byte* p) {
  float pair[2];
  std::memcpy(pair, p, sizeof pair);
  return {set(pair[0]), set(pair[1])};
}
SLUICE_INLINE V dot(V sum, Pairs w, Pairs a) {
  return fma(w.second, a.second, fma(w.first, a.first, sum));
}
SLUICE_INLINE void store_elements(std::byte* p, V a) { std::memcpy(p, &a, sizeof a); }
