// Readers of the float formats, whose weights are used as they are stored, one struct each:
//   kSuper        elements that are read together
//   kSuperBytes   their bytes
//   kPiece        elements that decode() yields at once, a divisor of kSuper
//   open()        where elements kSuper * i and following lie
//   decode()      piece i of them as kPiece / kLanes vectors
//   decode_some() the first n of the elements from k on
// Their values equal dequantize()'s bit for bit.

constexpr int kPer32 = 32 / kLanes;

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
