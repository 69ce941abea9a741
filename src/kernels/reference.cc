// The plain version of every op: short, sequential, sums in double. What an op means is read here.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "kernels/dequant.h"
#include "kernels/half.h"
#include "kernels/op_table.h"

namespace sluice::kernels {
namespace {

float load_element(KvElement element, const std::byte* at, float scale) {
  float value = 0;
  switch (element) {
    case KvElement::kF32:
      dequantize(tensor::DType::kF32, at, 1, &value);
      break;
    case KvElement::kF16:
      dequantize(tensor::DType::kF16, at, 1, &value);
      break;
    case KvElement::kBf16:
      dequantize(tensor::DType::kBF16, at, 1, &value);
      break;
    case KvElement::kInt8:
      value = scale * static_cast<float>(static_cast<int8_t>(*at));
  }
  return value;
}

// A row of elements `stride` apart; `scale` is null unless the cache is int8.
void load_kv(KvElement element, const std::byte* row, int64_t stride, const std::byte* scale,
             std::span<float> out) {
  float s = 1;
  if (scale != nullptr) std::memcpy(&s, scale, sizeof s);
  const int64_t step = stride * kv_element_bytes(element);
  for (float& x : out) {
    x = load_element(element, row, s);
    row += step;
  }
}

// One query head at one position over positions [first, last].
void attend(const AttentionTask& t, const float* q, int first, int last, float* out) {
  const AttentionShape& shape = *t.shape;
  const int dim = shape.head_dim;
  std::vector<float> row(static_cast<size_t>(dim));
  std::vector<double> scores;
  const auto cached = [&](int position) {
    const int block = t.slice->blocks[static_cast<size_t>(position / t.kv->block_size)];
    return kv_row(*t.kv, block, t.kv_head, position % t.kv->block_size);
  };
  for (int p = first; p <= last; ++p) {
    const KvRow at = cached(p);
    load_kv(t.kv->element, at.k, at.k_stride, at.k_scale, row);
    double dot = 0;
    for (int d = 0; d < dim; ++d) dot += double{q[d]} * double{row[size_t(d)]};
    dot *= double{shape.scale};
    if (shape.softcap > 0) dot = shape.softcap * std::tanh(dot / shape.softcap);
    scores.push_back(dot);
  }
  const double top = *std::max_element(scores.begin(), scores.end());
  std::vector<double> sum(static_cast<size_t>(dim));
  double total = 0;
  for (int p = first; p <= last; ++p) {
    const KvRow at = cached(p);
    load_kv(t.kv->element, at.v, 1, at.v_scale, row);
    const double weight = std::exp(scores[static_cast<size_t>(p - first)] - top);
    total += weight;
    for (size_t d = 0; d < row.size(); ++d) sum[d] += weight * double{row[d]};
  }
  for (int d = 0; d < dim; ++d) out[d] = static_cast<float>(sum[static_cast<size_t>(d)] / total);
}

void attention(const AttentionTask& t) {
  const AttentionShape& shape = *t.shape;
  const int group = shape.heads / shape.kv_heads;
  for (int row = t.row_begin; row < t.row_end; ++row) {
    const PositionSpan seen = visible_positions(shape, t.slice->first_position + row);
    for (int head = t.kv_head * group; head < (t.kv_head + 1) * group; ++head) {
      const int64_t at = (int64_t{row} * shape.heads + head) * shape.head_dim;
      attend(t, t.slice->q + at, seen.begin, seen.end - 1, t.slice->out + at);
    }
  }
}

void store_element(KvElement element, float x, std::byte* at) {
  switch (element) {
    case KvElement::kF32:
      std::memcpy(at, &x, sizeof x);
      return;
    case KvElement::kF16: {
      const uint16_t h = float_to_f16(x);
      std::memcpy(at, &h, sizeof h);
      return;
    }
    case KvElement::kBf16: {
      const uint16_t h = float_to_bf16(x);
      std::memcpy(at, &h, sizeof h);
      return;
    }
    case KvElement::kInt8: {
      const float q = std::nearbyint(x);
      // The comparisons are false for a NaN, which becomes -127.
      const float bounded = q >= 127.0F ? 127.0F : (q > -127.0F ? q : -127.0F);
      *at = static_cast<std::byte>(static_cast<int8_t>(bounded));
    }
  }
}

void store_row(KvElement element, const float* x, int head_dim, std::byte* row, int64_t stride,
               std::byte* scale) {
  float inverse = 1;
  if (scale != nullptr) {
    float largest = 0;
    for (int d = 0; d < head_dim; ++d) largest = std::max(largest, std::fabs(x[d]));
    const bool zero = !(largest > kTinyKv);
    const float s = zero ? 0.0F : largest / 127.0F;
    std::memcpy(scale, &s, sizeof s);
    inverse = zero ? 0.0F : 127.0F / largest;
  }
  const int64_t step = stride * kv_element_bytes(element);
  for (int d = 0; d < head_dim; ++d) {
    store_element(element, element == KvElement::kInt8 ? x[d] * inverse : x[d], row + d * step);
  }
}

void store_kv(KvElement element, const float* k, const float* v, int head_dim, const KvRow& at) {
  store_row(element, k, head_dim, at.k, at.k_stride, at.k_scale);
  store_row(element, v, head_dim, at.v, 1, at.v_scale);
}

void rms_norm(const float* x, int64_t n, int64_t width, const float* weight, float eps,
              float* out) {
  for (int64_t i = 0; i < n; ++i, x += width, out += width) {
    double squares = 0;
    for (int64_t k = 0; k < width; ++k) squares += double{x[k]} * double{x[k]};
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(width) + double{eps});
    for (int64_t k = 0; k < width; ++k) {
      out[k] = static_cast<float>(x[k] * scale) * weight[k];
    }
  }
}

struct Pair {
  int first;
  int second;
};

template <typename PairAt>
void rope(float* x, int64_t n, int heads, int head_dim, int dim, const float* cos, const float* sin,
          PairAt pair_at) {
  const int pairs = dim / 2;
  for (int64_t i = 0; i < n; ++i, cos += pairs, sin += pairs) {
    for (int head = 0; head < heads; ++head, x += head_dim) {
      for (int j = 0; j < pairs; ++j) {
        const Pair at = pair_at(j);
        const float a = x[at.first], b = x[at.second];
        x[at.first] = a * cos[j] - b * sin[j];
        x[at.second] = a * sin[j] + b * cos[j];
      }
    }
  }
}

void rope_neighbours(float* x, int64_t n, int heads, int head_dim, int dim, const float* cos,
                     const float* sin) {
  rope(x, n, heads, head_dim, dim, cos, sin, [](int j) { return Pair{2 * j, 2 * j + 1}; });
}

void rope_halves(float* x, int64_t n, int heads, int head_dim, int dim, const float* cos,
                 const float* sin) {
  rope(x, n, heads, head_dim, dim, cos, sin, [dim](int j) { return Pair{j, j + dim / 2}; });
}

void silu_mul(const float* gate, const float* up, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    const double g = gate[i];
    out[i] = static_cast<float>(g / (1.0 + std::exp(-g))) * up[i];
  }
}

// The tanh form of GELU (Hendrycks and Gimpel, "Gaussian Error Linear Units").
void gelu_mul(const float* gate, const float* up, int64_t count, float* out) {
  constexpr double kRootTwoOverPi = 0.7978845608028654;
  for (int64_t i = 0; i < count; ++i) {
    const double g = gate[i];
    const double inner = kRootTwoOverPi * (g + 0.044715 * g * g * g);
    out[i] = static_cast<float>(0.5 * g * (1.0 + std::tanh(inner))) * up[i];
  }
}

void add(float* x, const float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] += y[i];
}

void add_scaled(float* x, const float* y, float s, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] += s * y[i];
}

void softcap(float* x, int64_t count, float cap) {
  for (int64_t i = 0; i < count; ++i) x[i] = cap * std::tanh(x[i] / cap);
}

void softmax(float* x, int64_t n, int64_t width) {
  for (int64_t i = 0; i < n; ++i, x += width) {
    const float top = *std::max_element(x, x + width);
    double total = 0;
    for (int64_t k = 0; k < width; ++k) {
      x[k] = static_cast<float>(std::exp(double{x[k]} - double{top}));
      total += double{x[k]};
    }
    for (int64_t k = 0; k < width; ++k) x[k] = static_cast<float>(x[k] / total);
  }
}

constexpr OpTable kTable = {
    .attention = attention,
    .merge_attention = nullptr,
    .store_kv = store_kv,
    .rms_norm = rms_norm,
    .rope_neighbours = rope_neighbours,
    .rope_halves = rope_halves,
    .silu_mul = silu_mul,
    .gelu_mul = gelu_mul,
    .add = add,
    .add_scaled = add_scaled,
    .softcap = softcap,
    .softmax = softmax,
};

}  // namespace

void reference_matmul(const WeightRows& w, const MatmulRows& rows, int64_t begin, int64_t end) {
  std::vector<float> weights(static_cast<size_t>(w.in));
  for (int64_t col = begin; col < end; ++col) {
    dequantize(w.dtype, w.data + col * w.row_bytes, w.in, weights.data());
    for (int64_t i = 0; i < rows.n; ++i) {
      const float* x = rows.x + rows.row(i) * w.in;
      double sum = 0;
      for (int64_t k = 0; k < w.in; ++k) sum += double{x[k]} * double{weights[size_t(k)]};
      const float bias = rows.bias == nullptr ? 0.0F : rows.bias[col];
      rows.y[i * w.out + col] = static_cast<float>(sum) + bias;
    }
  }
}

const OpTable& reference_ops() { return kTable; }

}  // namespace sluice::kernels
