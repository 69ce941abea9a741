// Vectorized decoders of the weight formats, one struct each:
//   kSuper   elements of a block as stored
//   kSuperBytes, its bytes
//   kPiece   elements that decode() yields at once, a divisor of kSuper
//   open()   what is common to a block: its scales, as floats
//   decode() piece i of a block as kPiece / kLanes vectors
// Their values equal dequantize()'s bit for bit: same operations, same order.

constexpr int kPer16 = 16 / kLanes;
constexpr int kPer32 = 32 / kLanes;

alignas(16) constexpr int8_t kFrom0[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
alignas(16) constexpr int8_t kFromMinus8[16] = {-8, -7, -6, -5, -4, -3, -2, -1,
                                                0,  1,  2,  3,  4,  5,  6,  7};

SLUICE_INLINE float half_of(F16Bytes h) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(load_u16(h.bytes))));
}
SLUICE_INLINE uint32_t load_u32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
SLUICE_INLINE __m256i load_32(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
SLUICE_INLINE __m256i shift_right(__m256i words, int bits) {
  return _mm256_srl_epi16(words, _mm_cvtsi32_si128(bits));
}
SLUICE_INLINE __m256i mask_bytes(__m256i bytes, int mask) {
  return _mm256_and_si256(bytes, _mm256_set1_epi8(static_cast<char>(mask)));
}

// 32 floats = scale of each half * integers (- min of each half).
SLUICE_INLINE void scaled(__m256i q, const float* scales, V* w) {
  widen_i8(q, w);
  for (int v = 0; v < kPer32; ++v) w[v] = set(scales[v / kPer16]) * w[v];
}
SLUICE_INLINE void scaled(__m256i q, const float* scales, const float* mins, V* w) {
  scaled(q, scales, w);
  for (int v = 0; v < kPer32; ++v) w[v] = w[v] - set(mins[v / kPer16]);
}

// d times each of sixteen signed bytes.
SLUICE_INLINE void scales_of(__m128i bytes, float d, float* out) {
  const __m256 low = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  const __m256 high = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)));
  _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_set1_ps(d), low));
  _mm256_storeu_ps(out + 8, _mm256_mul_ps(_mm256_set1_ps(d), high));
}

template <typename Derived, int kBytes>
struct FloatFormat {
  static constexpr int kSuper = 32;
  static constexpr int kSuperBytes = kSuper * kBytes;
  static constexpr int kPiece = 32;
  using State = const std::byte*;
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) {
    return row + i * kSuper * kBytes;
  }
  SLUICE_INLINE static void decode(State p, int, V* w) {
    for (int v = 0; v < kPer32; ++v) w[v] = Derived::get(p + v * kLanes * kBytes);
  }
  SLUICE_INLINE static V decode_some(const std::byte* row, int64_t k, int n) {
    return Derived::get_some(row + k * kBytes, n);
  }
};

struct F32Format : FloatFormat<F32Format, 4> {
  SLUICE_INLINE static V get(const std::byte* p) { return load(reinterpret_cast<const float*>(p)); }
  SLUICE_INLINE static V get_some(const std::byte* p, int n) {
    return load_some(reinterpret_cast<const float*>(p), n);
  }
};

struct F16Format : FloatFormat<F16Format, 2> {
  SLUICE_INLINE static V get(const std::byte* p) { return load_f16(p); }
  SLUICE_INLINE static V get_some(const std::byte* p, int n) { return load_f16_some(p, n); }
};

struct BF16Format : FloatFormat<BF16Format, 2> {
  SLUICE_INLINE static V get(const std::byte* p) { return load_bf16(p); }
  SLUICE_INLINE static V get_some(const std::byte* p, int n) { return load_bf16_some(p, n); }
};

template <typename BlockType, int kSuperElements, int kPieceElements>
struct BlockFormat {
  using Block = BlockType;
  static constexpr int kSuper = kSuperElements;
  static constexpr int kSuperBytes = sizeof(BlockType);
  static constexpr int kPiece = kPieceElements;
  SLUICE_INLINE static const Block& block(const std::byte* row, int64_t i) {
    return reinterpret_cast<const Block*>(row)[i];
  }
};

struct Q8_0Format : BlockFormat<BlockQ8_0, 32, 32> {
  using State = const Block*;
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) { return &block(row, i); }
  SLUICE_INLINE static void decode(State b, int, V* w) {
    const V d = set(half_of(b->d));
    for (int v = 0; v < kPer32; ++v) {
      w[v] = d * load_i8(reinterpret_cast<const std::byte*>(b->qs) + v * kLanes);
    }
  }
};

struct Q4_0Format : BlockFormat<BlockQ4_0, 32, 32> {
  using State = const Block*;
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) { return &block(row, i); }
  SLUICE_INLINE static void decode(State b, int, V* w) {
    const Table16 table = table_of(kFromMinus8, set(half_of(b->d)));
    look_up(table, table, b->qs, w, w + kPer16);
  }
};

struct Q4_1Format : BlockFormat<BlockQ4_1, 32, 32> {
  using State = const Block*;
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) { return &block(row, i); }
  SLUICE_INLINE static void decode(State b, int, V* w) {
    const Table16 table = table_of(kFrom0, set(half_of(b->d)), set(-half_of(b->m)));
    look_up(table, table, b->qs, w, w + kPer16);
  }
};

struct IQ4_NLFormat : BlockFormat<BlockIQ4_NL, 32, 32> {
  using State = const Block*;
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) { return &block(row, i); }
  SLUICE_INLINE static void decode(State b, int, V* w) {
    const Table16 table = table_of(kIq4Values, set(half_of(b->d)));
    look_up(table, table, b->qs, w, w + kPer16);
  }
};

// 32 quants of five bits: nibbles of 16 bytes, fifth bits in a 32-bit word.
SLUICE_INLINE __m256i five_bit_quants(const uint8_t* qs, const uint8_t* qh) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(qs));
  const __m256i low = mask_bytes(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), 15);
  // Byte j of the word's spread gets qh's byte j / 8; then its bit j % 8 decides.
  const __m256i spread = _mm256_shuffle_epi8(
      _mm256_set1_epi32(static_cast<int>(load_u32(qh))),
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201ULL));
  const __m256i is_set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
  return _mm256_or_si256(low, mask_bytes(is_set, 16));
}

struct Q5_0Format : BlockFormat<BlockQ5_0, 32, 32> {
  using State = const Block*;
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) { return &block(row, i); }
  SLUICE_INLINE static void decode(State b, int, V* w) {
    const float d = half_of(b->d);
    const float scales[2] = {d, d};
    scaled(_mm256_sub_epi8(five_bit_quants(b->qs, b->qh), _mm256_set1_epi8(16)), scales, w);
  }
};

struct Q5_1Format : BlockFormat<BlockQ5_1, 32, 32> {
  using State = const Block*;
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) { return &block(row, i); }
  SLUICE_INLINE static void decode(State b, int, V* w) {
    const float d = half_of(b->d), m = -half_of(b->m);
    const float scales[2] = {d, d}, mins[2] = {m, m};
    scaled(five_bit_quants(b->qs, b->qh), scales, mins, w);
  }
};

struct Q2_KFormat : BlockFormat<BlockQ2_K, 256, 32> {
  struct State {
    const Block* b;
    float scales[16];
    float mins[16];
  };
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) {
    const Block& b = block(row, i);
    State s;
    s.b = &b;
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b.scales));
    const __m128i nibble = _mm_set1_epi8(15);
    scales_of(_mm_and_si128(packed, nibble), half_of(b.d), s.scales);
    scales_of(_mm_and_si128(_mm_srli_epi16(packed, 4), nibble), half_of(b.dmin), s.mins);
    return s;
  }
  SLUICE_INLINE static void decode(const State& s, int i, V* w) {
    const __m256i q = mask_bytes(shift_right(load_32(s.b->qs + i / 4 * 32), 2 * (i % 4)), 3);
    scaled(q, s.scales + 2 * i, s.mins + 2 * i, w);
  }
};

struct Q3_KFormat : BlockFormat<BlockQ3_K, 256, 32> {
  struct State {
    const Block* b;
    float scales[16];
  };
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) {
    const Block& b = block(row, i);
    State s;
    s.b = &b;
    // Four six-bit scales to a word, as q3k_scale() reads them one by one.
    constexpr uint32_t kLow = 0x0F0F0F0F, kHigh = 0x03030303;
    const uint32_t x = load_u32(b.scales), y = load_u32(b.scales + 4), z = load_u32(b.scales + 8);
    const __m128i six_bits =
        _mm_setr_epi32(static_cast<int>((x & kLow) | ((z & kHigh) << 4)),
                       static_cast<int>((y & kLow) | (((z >> 2) & kHigh) << 4)),
                       static_cast<int>(((x >> 4) & kLow) | (((z >> 4) & kHigh) << 4)),
                       static_cast<int>(((y >> 4) & kLow) | (((z >> 6) & kHigh) << 4)));
    scales_of(_mm_sub_epi8(six_bits, _mm_set1_epi8(32)), half_of(b.d), s.scales);
    return s;
  }
  SLUICE_INLINE static void decode(const State& s, int i, V* w) {
    const __m256i low = mask_bytes(shift_right(load_32(s.b->qs + i / 4 * 32), 2 * (i % 4)), 3);
    const __m256i high = mask_bytes(shift_right(load_32(s.b->hmask), i), 1);
    const __m256i q = _mm256_or_si256(low, _mm256_slli_epi16(high, 2));
    scaled(_mm256_sub_epi8(q, _mm256_set1_epi8(4)), s.scales + 2 * i, w);
  }
};

// Scales and mins of the eight sub-blocks of Q4_K and Q5_K, as k_scale_min() reads them.
struct KScales {
  float scales[8];
  float mins[8];
};
SLUICE_INLINE KScales k_scales(const uint8_t* packed, float d, float dmin) {
  constexpr uint32_t kSix = 0x3F3F3F3F, kLow = 0x0F0F0F0F, kHigh = 0x03030303;
  const uint32_t x = load_u32(packed), y = load_u32(packed + 4), z = load_u32(packed + 8);
  const __m128i scales = _mm_setr_epi32(
      static_cast<int>(x & kSix), static_cast<int>((z & kLow) | (((x >> 6) & kHigh) << 4)), 0, 0);
  const __m128i mins =
      _mm_setr_epi32(static_cast<int>(y & kSix),
                     static_cast<int>(((z >> 4) & kLow) | (((y >> 6) & kHigh) << 4)), 0, 0);
  KScales s;
  _mm256_storeu_ps(
      s.scales, _mm256_mul_ps(_mm256_set1_ps(d), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(scales))));
  _mm256_storeu_ps(
      s.mins, _mm256_mul_ps(_mm256_set1_ps(dmin), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(mins))));
  return s;
}

struct Q4_KFormat : BlockFormat<BlockQ4_K, 256, 64> {
  struct State {
    const Block* b;
    KScales k;
  };
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) {
    const Block& b = block(row, i);
    return {&b, k_scales(b.scales, half_of(b.d), half_of(b.dmin))};
  }
  SLUICE_INLINE static void decode(const State& s, int i, V* w) {
    const int j = 2 * i;
    const Table16 low = table_of(kFrom0, set(s.k.scales[j]), set(s.k.mins[j]));
    const Table16 high = table_of(kFrom0, set(s.k.scales[j + 1]), set(s.k.mins[j + 1]));
    const uint8_t* qs = s.b->qs + 32 * i;
    look_up(low, high, qs, w, w + kPer32);
    look_up(low, high, qs + 16, w + kPer16, w + kPer32 + kPer16);
  }
};

struct Q5_KFormat : BlockFormat<BlockQ5_K, 256, 32> {
  struct State {
    const Block* b;
    KScales k;
  };
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) {
    const Block& b = block(row, i);
    return {&b, k_scales(b.scales, half_of(b.d), half_of(b.dmin))};
  }
  SLUICE_INLINE static void decode(const State& s, int i, V* w) {
    const __m256i low = mask_bytes(shift_right(load_32(s.b->qs + i / 2 * 32), 4 * (i % 2)), 15);
    const __m256i high = mask_bytes(shift_right(load_32(s.b->qh), i), 1);
    const float scales[2] = {s.k.scales[i], s.k.scales[i]};
    const float mins[2] = {s.k.mins[i], s.k.mins[i]};
    scaled(_mm256_or_si256(low, _mm256_slli_epi16(high, 4)), scales, mins, w);
  }
};

struct Q6_KFormat : BlockFormat<BlockQ6_K, 256, 32> {
  struct State {
    const Block* b;
    float scales[16];
  };
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) {
    const Block& b = block(row, i);
    State s;
    s.b = &b;
    scales_of(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b.scales)), half_of(b.d), s.scales);
    return s;
  }
  SLUICE_INLINE static void decode(const State& s, int i, V* w) {
    const int half = i / 4, j = i % 4;
    const __m256i ql = load_32(s.b->ql + 64 * half + 32 * (j % 2));
    const __m256i low = mask_bytes(shift_right(ql, 4 * (j / 2)), 15);
    const __m256i high = mask_bytes(shift_right(load_32(s.b->qh + 32 * half), 2 * j), 3);
    const __m256i q = _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
    scaled(_mm256_sub_epi8(q, _mm256_set1_epi8(32)), s.scales + 2 * i, w);
  }
};

struct IQ4_XSFormat : BlockFormat<BlockIQ4_XS, 256, 32> {
  struct State {
    const Block* b;
    float d;
  };
  SLUICE_INLINE static State open(const std::byte* row, int64_t i) {
    const Block& b = block(row, i);
    return {&b, half_of(b.d)};
  }
  SLUICE_INLINE static void decode(const State& s, int i, V* w) {
    const float scale = s.d * static_cast<float>(iq4xs_scale(*s.b, i));
    const Table16 table = table_of(kIq4Values, set(scale));
    look_up(table, table, s.b->qs + 16 * i, w, w + kPer16);
  }
};
