// Packing rows: what panels.h says of them.

// x[0 … count) as one block; beyond it zeros.
SLUICE_INLINE void pack_int8_block(const float* x, int64_t count, std::byte* out) {
  constexpr int kVectors = kBlockElements / kLanes, kHalf = kVectors / 2;
  V values[kVectors];
  V top = zero();
  for (int i = 0; i < kVectors; ++i) {
    const int64_t left = std::clamp<int64_t>(count - i * kLanes, 0, kLanes);
    values[i] = load_some(x + i * kLanes, static_cast<int>(left));
    top = max(top, abs(values[i]));
  }
  const float largest = max_lane(top);
  // Below the floor 127 / largest would overflow.
  const bool is_zero = largest < kTinyRow;
  const V inverse = set(is_zero ? 0.0F : 127.0F / largest);
  V sums[2] = {zero(), zero()};
  for (int i = 0; i < kVectors; ++i) {
    // NaN if the value was no number; an infinity times its inverse is none.
    const V q = round_even(values[i] * inverse);
    sums[i / kHalf] = sums[i / kHalf] + q;
    store_i8_some(out + i * kLanes, q, kLanes);
  }
  float halves[4];
  store_four(halves, sum_lanes(sums[0], sums[1], sums[0], sums[1]));
  const float all = halves[0] + halves[1];
  const bool is_number = all == all;
  float scale = is_zero ? 0.0F : largest * kRowScale;
  if (!is_number) scale = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(out + offsetof(Int8Block, scale), &scale, sizeof scale);
  store_sums(is_number ? static_cast<int32_t>(halves[0]) : 0,
             is_number ? static_cast<int32_t>(halves[1]) : 0, out);
}

void pack_int8_row(const float* x, int64_t in, std::byte* out, int64_t stride) {
  const int64_t blocks = row_blocks(in);
  for (int64_t b = 0; b < blocks; ++b, out += stride) {
    const int64_t k = b * kBlockElements;
    int32_t half_sums[2];
    if (k + kBlockElements <= in && pack_whole_block(x + k, out, half_sums)) {
      store_sums(half_sums[0], half_sums[1], out);
      continue;
    }
    pack_int8_block(x + std::min(k, in), std::clamp<int64_t>(in - k, 0, kBlockElements), out);
  }
}
