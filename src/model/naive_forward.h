// Test support: the models written down a second time, from the papers, in double precision: one
// sequence, no cache, no batch, every position's scores in full. Shares no code with the room.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "model/fake_model.h"

namespace sluice::model {

class NaiveForward {
 public:
  using Vector = std::vector<double>;
  using Rows = std::vector<Vector>;

  NaiveForward(const FakeSource& source, int max_context)
      : s_(source), c_(source.config()), max_context_(max_context) {}

  // Logits of every position.
  Rows run(const std::vector<int32_t>& tokens) const {
    const Vector table = s_.doubles("token_embd.weight");
    const auto width = static_cast<size_t>(c_.width);
    Rows x;
    for (const int32_t token : tokens) {
      const auto row = table.begin() + token * c_.width;
      Vector e(row, row + c_.width);
      if (gemma()) scale(e, std::sqrt(static_cast<double>(width)));
      x.push_back(std::move(e));
    }
    for (int layer = 0; layer < c_.layers; ++layer) run_layer(layer, x);
    Rows logits;
    for (const Vector& row : x) {
      const Vector h = norm(row, "output_norm.weight");
      Vector y = times(c_.tied_embeddings ? "token_embd.weight" : "output.weight", h);
      if (c_.architecture == "gemma2") {
        for (double& v : y) v = c_.final_softcap * std::tanh(v / c_.final_softcap);
      }
      logits.push_back(std::move(y));
    }
    return logits;
  }

 private:
  bool gemma() const { return c_.architecture.starts_with("gemma"); }
  bool head_norms() const {
    return c_.architecture.starts_with("qwen3") || c_.architecture == "gemma3";
  }
  bool windowed(int layer) const {
    return !c_.window_layers.empty() && c_.window_layers[static_cast<size_t>(layer)];
  }

  static void scale(Vector& v, double by) {
    for (double& e : v) e *= by;
  }
  static void add(Vector& x, const Vector& y, double by = 1.0) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += by * y[i];
  }
  static Vector part(const Vector& v, size_t first, size_t count) {
    return {v.begin() + static_cast<ptrdiff_t>(first),
            v.begin() + static_cast<ptrdiff_t>(first + count)};
  }

  Vector norm(const Vector& x, const std::string& name) const {
    const Vector w = s_.doubles(name);
    const double mean =
        std::inner_product(x.begin(), x.end(), x.begin(), 0.0) / static_cast<double>(x.size());
    Vector y = x;
    scale(y, 1.0 / std::sqrt(mean + c_.norm_eps));
    for (size_t i = 0; i < y.size(); ++i) y[i] *= w[i];
    return y;
  }

  // W x, of expert `index` where W is a stack; `rows` of each expert.
  Vector times(const std::string& name, const Vector& x, size_t index = 0, size_t rows = 0) const {
    const Vector w = s_.doubles(name);
    const size_t out = rows == 0 ? w.size() / x.size() : rows;
    Vector y(out);
    for (size_t o = 0; o < out; ++o) {
      const auto row = w.begin() + static_cast<ptrdiff_t>((index * out + o) * x.size());
      y[o] = std::inner_product(x.begin(), x.end(), row, 0.0);
    }
    return y;
  }
  Vector project(const std::string& name, const Vector& x) const {
    Vector y = times(name + ".weight", x);
    if (c_.architecture.starts_with("qwen2")) add(y, s_.doubles(name + ".bias"));
    return y;
  }

  // Angle per position of pair i, and the factor on both cos and sin.
  std::pair<double, double> rotation(int layer, int i) const {
    using std::numbers::pi;
    const formats::RopeConfig& r = c_.rope;
    if (c_.architecture == "gemma3" && windowed(layer)) {
      return {std::pow(c_.local_rope_theta, -2.0 * i / r.dim), 1.0};
    }
    const double plain = std::pow(r.theta, -2.0 * i / r.dim);
    const auto at = static_cast<size_t>(i);
    switch (r.scaling) {
      case formats::RopeScaling::kNone:
        return {plain, 1.0};
      case formats::RopeScaling::kLinear:
        return {plain / r.factor, 1.0};
      case formats::RopeScaling::kLlama3: {
        if (!r.freq_divisors.empty()) return {plain / r.freq_divisors[at], 1.0};
        const double wavelength = 2 * pi / plain;
        if (wavelength < r.original_context / r.high_freq_factor) return {plain, 1.0};
        if (wavelength > r.original_context / r.low_freq_factor) return {plain / r.factor, 1.0};
        const double smooth = (r.original_context / wavelength - r.low_freq_factor) /
                              (r.high_freq_factor - r.low_freq_factor);
        return {(1 - smooth) * plain / r.factor + smooth * plain, 1.0};
      }
      case formats::RopeScaling::kYarn: {
        const auto pair_with = [&](double turns) {
          return r.dim / (2 * std::log(r.theta)) * std::log(r.original_context / (2 * pi * turns));
        };
        const double low = std::max(0.0, std::floor(pair_with(r.beta_fast)));
        const double high = std::min(r.dim - 1.0, std::ceil(pair_with(r.beta_slow)));
        double ramp = (i - low) / std::max(0.001, high - low);
        ramp = std::min(1.0, std::max(0.0, ramp));
        return {plain / r.factor * ramp + plain * (1 - ramp),
                r.attention_factor > 0 ? r.attention_factor : 0.1 * std::log(r.factor) + 1};
      }
      case formats::RopeScaling::kLongRope: {
        const bool longer = max_context_ > r.original_context;
        const double by = (longer ? r.long_factors : r.short_factors)[at];
        const double stretch = static_cast<double>(c_.context) / r.original_context;
        return {plain / by, std::sqrt(1 + std::log(stretch) / std::log(r.original_context))};
      }
    }
    return {};
  }

  Vector rotate(const Vector& head, int layer, size_t position) const {
    Vector y = head;
    const auto half = static_cast<size_t>(c_.rope.dim) / 2;
    const bool neighbours = c_.rope.style == formats::RopeStyle::kNeighbours;
    for (size_t i = 0; i < half; ++i) {
      const size_t a = neighbours ? 2 * i : i;
      const size_t b = neighbours ? 2 * i + 1 : i + half;
      const auto [frequency, magnitude] = rotation(layer, static_cast<int>(i));
      const std::complex<double> turned =
          std::complex<double>(head[a], head[b]) *
          std::polar(magnitude, frequency * static_cast<double>(position));
      y[a] = turned.real();
      y[b] = turned.imag();
    }
    return y;
  }

  // Heads of one row's projection: normed and rotated where that is due.
  Rows heads_of(const Vector& row, int layer, size_t position, const std::string& norm_name) const {
    const auto d = static_cast<size_t>(c_.head_dim);
    Rows heads;
    for (size_t h = 0; h < row.size() / d; ++h) {
      Vector head = part(row, h * d, d);
      if (!norm_name.empty()) {
        if (head_norms()) head = norm(head, norm_name);
        head = rotate(head, layer, position);
      }
      heads.push_back(std::move(head));
    }
    return heads;
  }

  Vector attend(const std::vector<Rows>& k, const std::vector<Rows>& v, const Vector& q,
                size_t head, int layer) const {
    const size_t group = head / static_cast<size_t>(c_.heads / c_.kv_heads);
    const size_t position = k.size() - 1;
    const auto window = static_cast<size_t>(c_.sliding_window);
    const size_t first = windowed(layer) && position + 1 > window ? position + 1 - window : 0;
    const double by = c_.architecture == "gemma2" ? c_.attention_scale
                                                  : 1 / std::sqrt(static_cast<double>(c_.head_dim));
    Vector weights;
    for (size_t p = first; p <= position; ++p) {
      double score = by * std::inner_product(q.begin(), q.end(), k[p][group].begin(), 0.0);
      if (c_.architecture == "gemma2") {
        score = c_.attention_softcap * std::tanh(score / c_.attention_softcap);
      }
      weights.push_back(std::exp(score));
    }
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    Vector out(static_cast<size_t>(c_.head_dim));
    for (size_t i = 0; i < weights.size(); ++i) add(out, v[first + i][group], weights[i] / sum);
    return out;
  }

  void run_layer(int layer, Rows& x) const {
    const std::string b = "blk." + std::to_string(layer) + ".";
    const auto q_width = static_cast<size_t>(c_.heads * c_.head_dim);
    const auto kv_width = static_cast<size_t>(c_.kv_heads * c_.head_dim);
    std::vector<Rows> keys, values;
    for (size_t p = 0; p < x.size(); ++p) {
      const Vector h = norm(x[p], b + "attn_norm.weight");
      Vector q, k, v;
      if (c_.architecture == "phi3") {
        const Vector all = times(b + "attn_qkv.weight", h);
        q = part(all, 0, q_width);
        k = part(all, q_width, kv_width);
        v = part(all, q_width + kv_width, kv_width);
      } else {
        q = project(b + "attn_q", h);
        k = project(b + "attn_k", h);
        v = project(b + "attn_v", h);
      }
      keys.push_back(heads_of(k, layer, p, b + "attn_k_norm.weight"));
      values.push_back(heads_of(v, layer, p, ""));
      const Rows queries = heads_of(q, layer, p, b + "attn_q_norm.weight");
      Vector mixed;
      for (size_t head = 0; head < queries.size(); ++head) {
        const Vector o = attend(keys, values, queries[head], head, layer);
        mixed.insert(mixed.end(), o.begin(), o.end());
      }
      Vector out = times(b + "attn_output.weight", mixed);
      if (gemma()) out = norm(out, b + "post_attention_norm.weight");
      add(x[p], out);
      const Vector f = norm(x[p], b + "ffn_norm.weight");
      out = c_.moe.experts > 0 ? mixture(b, f) : dense(b, f);
      if (gemma()) out = norm(out, b + "post_ffw_norm.weight");
      add(x[p], out);
    }
  }

  double activation(double g) const {
    if (!gemma()) return g / (1 + std::exp(-g));
    return 0.5 * g * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g)));
  }
  Vector gated(const Vector& gate, const Vector& up) const {
    Vector y = up;
    for (size_t i = 0; i < y.size(); ++i) y[i] *= activation(gate[i]);
    return y;
  }

  Vector dense(const std::string& b, const Vector& x) const {
    if (c_.architecture == "phi3") {
      const Vector both = times(b + "ffn_up.weight", x);
      const size_t half = both.size() / 2;
      return times(b + "ffn_down.weight", gated(part(both, 0, half), part(both, half, half)));
    }
    return times(b + "ffn_down.weight",
                 gated(times(b + "ffn_gate.weight", x), times(b + "ffn_up.weight", x)));
  }

  Vector mixture(const std::string& b, const Vector& x) const {
    Vector weights = times(b + "ffn_gate_inp.weight", x);
    double sum = 0;
    for (double& w : weights) sum += w = std::exp(w);
    scale(weights, 1 / sum);
    std::vector<size_t> order(weights.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::sort(order, [&](size_t i, size_t j) { return weights[i] > weights[j]; });
    order.resize(static_cast<size_t>(c_.moe.used));
    double chosen = 0;
    for (const size_t e : order) chosen += weights[e];
    if (c_.architecture == "qwen2moe") chosen = 1;  // leaves the weights as they are
    const auto ffn = static_cast<size_t>(c_.moe.ffn);
    Vector y(x.size());
    for (const size_t e : order) {
      const Vector h = gated(times(b + "ffn_gate_exps.weight", x, e, ffn),
                             times(b + "ffn_up_exps.weight", x, e, ffn));
      add(y, times(b + "ffn_down_exps.weight", h, e, x.size()), weights[e] / chosen);
    }
    if (c_.architecture == "qwen2moe") {
      const Vector h =
          gated(times(b + "ffn_gate_shexp.weight", x), times(b + "ffn_up_shexp.weight", x));
      const double score = times(b + "ffn_gate_inp_shexp.weight", x)[0];
      add(y, times(b + "ffn_down_shexp.weight", h), 1 / (1 + std::exp(-score)));
    }
    return y;
  }

  const FakeSource& s_;
  const formats::ModelConfig& c_;
  int max_context_ = 0;
};

}  // namespace sluice::model
