// Reading panels of quantized weights: scales and unsigned quants of one vector of columns. `half`
// is the half group, `lane` the vector's first column in it. And reading packed rows.

// kIq4Values + 128
alignas(16) constexpr uint8_t kIq4Unsigned[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                                  129, 141, 153, 166, 181, 197, 217, 241};

template <tensor::DType kType>
struct PanelFormat {
  static constexpr PanelLayout kLayout = panel_layout(kType);
  static constexpr bool kBlocksOf32 = kLayout.small == 0;
  static constexpr bool kNibbles = kType == tensor::DType::kQ2_K;
  static constexpr int kUp = moved_up(kLayout);
  // Whether a tile alone does: of blocks of 256, which have fewer lines a block, it brings nothing.
  static constexpr bool kSpreadsFetches = kBlocksOf32;

  // The byte scale of a part of a block.
  SLUICE_INLINE static const std::byte* small(const std::byte* half, int block, int sub, int lane) {
    return half + 32 * kLayout.halves + 16 * (kLayout.subs * block + sub) + lane;
  }
  // Of quants that are moved up. Powers of two, here and for mins, round nothing.
  SLUICE_INLINE static V scale(const std::byte* half, int block, int sub, int lane) {
    V d = load_f16(half + 2 * lane + (kBlocksOf32 ? 32 * block : 0));
    if constexpr (kUp > 0) d = d * set(1.0F / (1 << kUp));
    if constexpr (kBlocksOf32) return d;
    const std::byte* s = small(half, block, sub, lane);
    return d * (kNibbles ? load_low_nibbles(s) : load_i8(s));
  }
  // What is to be multiplied with row_sum().
  SLUICE_INLINE static V min(const std::byte* half, int block, int sub, int lane) {
    V m = load_f16(half + 2 * lane + 32 * (kBlocksOf32 ? kLayout.blocks + block : 1));
    if constexpr (kMinFactor != 1.0F) m = m * set(kMinFactor);
    if constexpr (kBlocksOf32) return m;
    const std::byte* s = small(half, block, sub, lane);
    return m * (kNibbles ? load_high_nibbles(s) : load_i8(s + 16 * kLayout.blocks));
  }

  // Step kStep of the block whose planes begin at `planes`, moved up.
  template <int kStep>
  SLUICE_INLINE static I quants(const std::byte* planes, int lane) {
    constexpr int kLow = kLayout.low, kHigh = kLayout.high;
    constexpr int kShift = kStep / kLow * kLow;
    planes += 4 * lane;
    I q = load_plane(planes + kStep % kLow * kPlaneBytes);
    if constexpr (kLow < 8) q = and_bits(shift_down<kShift - kUp>(q), ((1 << kLow) - 1) << kUp);
    if constexpr (kHigh > 0) {
      constexpr int kAt = kLow + kStep % kHigh, kFrom = kStep / kHigh * kHigh;
      const I high = shift_down<kFrom - kLow - kUp>(load_plane(planes + kAt * kPlaneBytes));
      q = or_bits(q, high, ((1 << kHigh) - 1) << (kLow + kUp));
    }
    if constexpr (kLayout.is_table) q = table_entries(kIq4Unsigned, q);
    return q;
  }
  template <int kStep>
  SLUICE_INLINE static Weights weights(const std::byte* planes, int lane) {
    return weights_of<kLayout>(quants<kStep>(planes, lane));
  }
};

SLUICE_INLINE const std::byte* block_of_row(const std::byte* rows, int r) {
  return rows + static_cast<size_t>(r) * sizeof(Int8Block);
}
