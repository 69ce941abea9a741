// Norms, rotations and activations over V. An element's arithmetic does
// not depend on the lane it falls into, so these may be cut anywhere.

void rms_norm(const float* x, int64_t n, int64_t width, const float* weight, float eps,
              float* out) {
  for (int64_t row = 0; row < n; ++row, x += width, out += width) {
    V squares = zero();
    for (int64_t i = 0; i < width; i += kLanes) {
      const V a = load_some(x + i, lanes_left(width, i));
      squares = fma(a, a, squares);
    }
    const float mean = sum_lanes(squares) / static_cast<float>(width);
    const V scale = set(1.0F / std::sqrt(mean + eps));
    for (int64_t i = 0; i < width; i += kLanes) {
      const int some = lanes_left(width, i);
      store_some(out + i, load_some(x + i, some) * scale * load_some(weight + i, some), some);
    }
  }
}

void rope_neighbours(float* x, int64_t n, int heads, int head_dim, int dim, const float* cos,
                     const float* sin) {
  for (int64_t row = 0; row < n; ++row, cos += dim / 2, sin += dim / 2) {
    for (int head = 0; head < heads; ++head, x += head_dim) {
      for (int i = 0; i < dim; i += kLanes) {
        const int some = lanes_left(dim, i);
        const V a = load_some(x + i, some);
        const V c = load_twice_some(cos + i / 2, some);
        const V s = load_twice_some(sin + i / 2, some);
        store_some(x + i, sub_add(a * c, swap_neighbours(a) * s), some);
      }
    }
  }
}

void rope_halves(float* x, int64_t n, int heads, int head_dim, int dim, const float* cos,
                 const float* sin) {
  const int half = dim / 2;
  for (int64_t row = 0; row < n; ++row, cos += half, sin += half) {
    for (int head = 0; head < heads; ++head, x += head_dim) {
      for (int i = 0; i < half; i += kLanes) {
        const int some = lanes_left(half, i);
        const V a = load_some(x + i, some), b = load_some(x + half + i, some);
        const V c = load_some(cos + i, some), s = load_some(sin + i, some);
        store_some(x + i, a * c - b * s, some);
        store_some(x + half + i, a * s + b * c, some);
      }
    }
  }
}

void silu_mul(const float* gate, const float* up, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int some = lanes_left(count, i);
    store_some(out + i, silu(load_some(gate + i, some)) * load_some(up + i, some), some);
  }
}

void gelu_mul(const float* gate, const float* up, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int some = lanes_left(count, i);
    store_some(out + i, gelu(load_some(gate + i, some)) * load_some(up + i, some), some);
  }
}

void add(float* x, const float* y, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int some = lanes_left(count, i);
    store_some(x + i, load_some(x + i, some) + load_some(y + i, some), some);
  }
}

void add_scaled(float* x, const float* y, float s, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int some = lanes_left(count, i);
    store_some(x + i, load_some(x + i, some) + set(s) * load_some(y + i, some), some);
  }
}

void softcap(float* x, int64_t count, float cap) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int some = lanes_left(count, i);
    store_some(x + i, set(cap) * tanh(load_some(x + i, some) / set(cap)), some);
  }
}

void softmax(float* x, int64_t n, int64_t width) {
  for (int64_t row = 0; row < n; ++row, x += width) {
    const V top = set(largest(x, width));
    V total = zero();
    for (int64_t i = 0; i < width; i += kLanes) {
      const int some = lanes_left(width, i);
      store_some(x + i, exp(load_some(x + i, some) - top), some);
      total = total + load_some(x + i, some);
    }
    const V scale = set(1.0F / sum_lanes(total));
    for (int64_t i = 0; i < width; i += kLanes) {
      const int some = lanes_left(width, i);
      store_some(x + i, load_some(x + i, some) * scale, some);
    }
  }
}
