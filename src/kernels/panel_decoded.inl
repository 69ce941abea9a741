// Weights that many tiles of rows pass over: decoded once for all of them, quants to bytes, scales
// to floats. Values are those that PanelFormat gives to each tile by itself, and so are the sums.
//
// The halves of a decoded block: scales of its parts, then mins if it has them, as floats; then a
// plane for each step. Quants with a zero point are moved to have 128.

template <int kSubs, bool kHasMin>
struct DecodedFormat {
  static constexpr PanelLayout kLayout = {.blocks = 1,
                                          .low = 8,
                                          .halves = kSubs * (kHasMin ? 4 : 2),
                                          .subs = kSubs,
                                          .zero_shift = kHasMin ? 0 : 7,
                                          .has_min = kHasMin};
  static constexpr bool kSpreadsFetches = false;

  SLUICE_INLINE static V scale(const std::byte* half, int, int sub, int lane) {
    return load(reinterpret_cast<const float*>(half) + kHalfColumns * sub + lane);
  }
  SLUICE_INLINE static V min(const std::byte* half, int, int sub, int lane) {
    return scale(half, 0, kSubs + sub, lane);
  }
  template <int kStep>
  SLUICE_INLINE static Weights weights(const std::byte* planes, int lane) {
    return weights_of<kLayout>(load_plane(planes + kStep * kPlaneBytes + 4 * lane));
  }
};

template <tensor::DType kType>
using Decoded = DecodedFormat<panel_layout(kType).subs, panel_layout(kType).has_min>;

template <typename F, int... kStep>
SLUICE_INLINE void decode_steps(const std::byte* planes, int lane, std::byte* out,
                                std::integer_sequence<int, kStep...>) {
  constexpr int kShift = F::kLayout.zero_shift;
  constexpr int kMove = kShift == 0 ? 0 : 128 - (1 << (kShift + F::kUp));
  (store_plane(out + kStep * kPlaneBytes + 4 * lane,
               add_to_bytes(F::template quants<kStep>(planes, lane), kMove)),
   ...);
}

// One block of half a group.
template <typename F>
SLUICE_INLINE void decode_half(const std::byte* half, int block, std::byte* out) {
  constexpr PanelLayout kLayout = F::kLayout;
  const std::byte* planes = half + kLayout.head_bytes() + block * kLayout.planes() * kPlaneBytes;
  auto* scales = reinterpret_cast<float*>(out);
  constexpr int kScales = kLayout.subs * (kLayout.has_min ? 2 : 1);
  for (int lane = 0; lane < kHalfColumns; lane += kLanes) {
    for (int sub = 0; sub < kLayout.subs; ++sub) {
      float* scale = scales + kHalfColumns * sub + lane;
      store(scale, F::scale(half, block, sub, lane));
      if constexpr (kLayout.has_min) {
        store(scale + kHalfColumns * kLayout.subs, F::min(half, block, sub, lane));
      }
    }
    decode_steps<F>(planes, lane, out + kScales * kHalfColumns * int{sizeof(float)},
                    std::make_integer_sequence<int, kSteps>());
  }
}

// So many groups of a type, decoded, fill what a pass keeps in the first-level cache.
template <tensor::DType kType>
constexpr int64_t kDecodedGroups = std::max<int64_t>(
    1, kPassBytes / (int64_t{panel_layout(kType).blocks} * Decoded<kType>::kLayout.group_bytes()));

template <tensor::DType kType>
void decode_groups(const std::byte* group, int64_t groups, std::byte* out) {
  using F = PanelFormat<kType>;
  constexpr int kHalfBytes = Decoded<kType>::kLayout.half_bytes();
  for (; groups > 0; --groups, group += F::kLayout.group_bytes()) {
    for (int block = 0; block < F::kLayout.blocks; ++block, out += 2 * kHalfBytes) {
      decode_half<F>(group, block, out);
      decode_half<F>(group + F::kLayout.half_bytes(), block, out + kHalfBytes);
    }
  }
}
