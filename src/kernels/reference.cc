// The plain version of every op: short, sequential, sums in double. What an op means is read here.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/dequant.h"
#include "kernels/half.h"
#include "kernels/op_table.h"

namespace sluice::kernels {
namespace {

void matmul(const WeightRows& w, const MatmulRows& rows, const MatmulTile& tile) {
  std::vector<float> weights(static_cast<size_t>(w.in));
  for (int64_t col = tile.col_begin; col < tile.col_end; ++col) {
    dequantize(w.dtype, w.data + col * w.row_bytes, w.in, weights.data());
    for (int64_t i = tile.row_begin; i < tile.row_end; ++i) {
      const float* x = rows.x + rows.row(i) * w.in;
      double sum = 0;
      for (int64_t k = 0; k < w.in; ++k) sum += double{x[k]} * double{weights[size_t(k)]};
      const float bias = rows.bias == nullptr ? 0.0F : rows.bias[col];
      rows.y[rows.row(i) * w.out + col] = static_cast<float>(sum) + bias;
    }
  }
}

void load_kv(KvElement element, const std::byte* row, const std::byte* scale, int head_dim,
             float* out) {
  if (element == KvElement::kF32) return dequantize(tensor::DType::kF32, row, head_dim, out);
  if (element == KvElement::kF16) return dequantize(tensor::DType::kF16, row, head_dim, out);
  float s;
  std::memcpy(&s, scale, sizeof s);
  for (int d = 0; d < head_dim; ++d) out[d] = s * static_cast<float>(static_cast<int8_t>(row[d]));
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
    load_kv(t.kv->element, at.k, at.k_scale, dim, row.data());
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
    load_kv(t.kv->element, at.v, at.v_scale, dim, row.data());
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
    const int position = t.slice->first_position + row;
    const int first = shape.window > 0 ? std::max(0, position - shape.window + 1) : 0;
    for (int head = t.kv_head * group; head < (t.kv_head + 1) * group; ++head) {
      const int64_t at = (int64_t{row} * shape.heads + head) * shape.head_dim;
      attend(t, t.slice->q + at, first, position, t.slice->out + at);
    }
  }
}

void store_int8(const float* x, int head_dim, std::byte* row, std::byte* scale) {
  float largest = 0;
  for (int d = 0; d < head_dim; ++d) largest = std::max(largest, std::fabs(x[d]));
  // Below the floor 127 / largest would overflow; such a row is zero in any case.
  const bool zero = !(largest > 1e-30F);
  const float s = zero ? 0.0F : largest / 127.0F;
  const float inverse = zero ? 0.0F : 127.0F / largest;
  std::memcpy(scale, &s, sizeof s);
  for (int d = 0; d < head_dim; ++d) {
    const float q = std::nearbyint(x[d] * inverse);
    // The comparisons are false for a NaN, which becomes -127.
    const float bounded = q >= 127.0F ? 127.0F : (q > -127.0F ? q : -127.0F);
    row[d] = static_cast<std::byte>(static_cast<int8_t>(bounded));
  }
}

void store_kv(KvElement element, const float* x, int head_dim, std::byte* row, std::byte* scale) {
  switch (element) {
    case KvElement::kF32:
      std::memcpy(row, x, static_cast<size_t>(head_dim) * sizeof(float));
      return;
    case KvElement::kF16:
      for (int d = 0; d < head_dim; ++d) {
        const uint16_t h = float_to_f16(x[d]);
        std::memcpy(row + int64_t{2} * d, &h, sizeof h);
      }
      return;
    case KvElement::kInt8:
      store_int8(x, head_dim, row, scale);
  }
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
    .matmul = matmul,
    .attention = attention,
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

const OpTable& reference_ops() { return kTable; }

}  // namespace sluice::kernels
