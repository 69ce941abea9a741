// The elements of the KV cache (kv_layout.h) over V: how they are read, and how a position's K and
// V are stored. The same roundings as in reference.cc.

struct F32Element {
  static constexpr int kBytes = 4;
  SLUICE_INLINE static V get(const std::byte* p) { return load(reinterpret_cast<const float*>(p)); }
  SLUICE_INLINE static V get_some(const std::byte* p, int n) {
    return load_some(reinterpret_cast<const float*>(p), n);
  }
  SLUICE_INLINE static void put_some(std::byte* p, V a, int n) {
    store_some(reinterpret_cast<float*>(p), a, n);
  }
};

struct F16Element {
  static constexpr int kBytes = 2;
  SLUICE_INLINE static V get(const std::byte* p) { return load_f16(p); }
  SLUICE_INLINE static V get_some(const std::byte* p, int n) { return load_f16_some(p, n); }
  SLUICE_INLINE static void put_some(std::byte* p, V a, int n) { store_f16_some(p, a, n); }
};

struct Bf16Element {
  static constexpr int kBytes = 2;
  SLUICE_INLINE static V get(const std::byte* p) { return load_bf16(p); }
  SLUICE_INLINE static V get_some(const std::byte* p, int n) { return load_bf16_some(p, n); }
  SLUICE_INLINE static void put_some(std::byte* p, V a, int n) { store_bf16_some(p, a, n); }
};

// Without its scale.
struct Int8Element {
  static constexpr int kBytes = 1;
  SLUICE_INLINE static V get(const std::byte* p) { return load_i8(p); }
  SLUICE_INLINE static V get_some(const std::byte* p, int n) { return load_i8_some(p, n); }
  SLUICE_INLINE static void put_some(std::byte* p, V a, int n) {
    // A NaN becomes -127: the bound is the second operand.
    store_i8_some(p, min(max(round_even(a), set(-127.0F)), set(127.0F)), n);
  }
};

// Stores the row's scale; its inverse is what elements are multiplied by.
SLUICE_INLINE float store_scale(const float* x, int head_dim, std::byte* at) {
  V tops = zero();
  for (int i = 0; i < head_dim; i += kLanes) {
    tops = max(tops, abs(load_some(x + i, lanes_left(head_dim, i))));
  }
  const float top = max_lane(tops);
  const bool is_zero = !(top > kTinyKv);
  const float scale = is_zero ? 0.0F : top / 127.0F;
  std::memcpy(at, &scale, sizeof scale);
  return is_zero ? 0.0F : 127.0F / top;
}

// A row whose elements come `stride` apart. (Times 1 keeps every bit but a signalling NaN's.)
template <typename E>
SLUICE_INLINE void store_apart(const float* x, float factor, int head_dim, std::byte* to,
                               int64_t stride) {
  const int64_t step = stride * E::kBytes;
  for (int i = 0; i < head_dim; i += kLanes) {
    const int some = lanes_left(head_dim, i);
    alignas(64) std::byte elements[kLanes * E::kBytes];
    E::put_some(elements, load_some(x + i, some) * set(factor), some);
    for (int lane = 0; lane < some; ++lane, to += step) {
      std::memcpy(to, elements + lane * E::kBytes, E::kBytes);
    }
  }
}

template <typename E>
SLUICE_INLINE void store_together(const float* x, float factor, int head_dim, std::byte* to) {
  for (int i = 0; i < head_dim; i += kLanes) {
    const int some = lanes_left(head_dim, i);
    E::put_some(to + int64_t{i} * E::kBytes, load_some(x + i, some) * set(factor), some);
  }
}

template <typename E>
void store_kv_as(const float* k, const float* v, int head_dim, const KvRow& at) {
  const float k_factor = at.k_scale == nullptr ? 1.0F : store_scale(k, head_dim, at.k_scale);
  const float v_factor = at.v_scale == nullptr ? 1.0F : store_scale(v, head_dim, at.v_scale);
  store_apart<E>(k, k_factor, head_dim, at.k, at.k_stride);
  store_together<E>(v, v_factor, head_dim, at.v);
}

void store_kv(KvElement element, const float* k, const float* v, int head_dim, const KvRow& at) {
  switch (element) {
    case KvElement::kF32:
      return store_kv_as<F32Element>(k, v, head_dim, at);
    case KvElement::kF16:
      return store_kv_as<F16Element>(k, v, head_dim, at);
    case KvElement::kBf16:
      return store_kv_as<Bf16Element>(k, v, head_dim, at);
    case KvElement::kInt8:
      return store_kv_as<Int8Element>(k, v, head_dim, at);
  }
}
