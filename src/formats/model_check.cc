#include "formats/model_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "formats/float_convert.h"
#include "formats/printable.h"

namespace sluice::formats {
namespace {

using tensor::DType;
using tensor::Shape;

bool positive(float value) { return std::isfinite(value) && value > 0.0f; }
bool not_negative(float value) { return std::isfinite(value) && value >= 0.0f; }

Outcome check_factors(const std::vector<float>& factors, int count, std::string_view what) {
  if (static_cast<int>(factors.size()) != count) {
    return invalid(fmt::format("{} {} expected, one for each rotated pair; found {}", count, what,
                               factors.size()));
  }
  if (!std::ranges::all_of(factors, positive)) {
    return invalid(fmt::format("{}: every value is expected to be finite and above 0", what));
  }
  return {};
}

Outcome check_rope(const RopeConfig& rope, int head_dim) {
  if (rope.dim < 2 || rope.dim % 2 != 0 || rope.dim > head_dim) {
    return invalid(
        fmt::format("rope dimensions: an even number from 2 to the head size {} is "
                    "expected; found {}",
                    head_dim, rope.dim));
  }
  if (!positive(rope.theta)) {
    return invalid(fmt::format("rope base: a number above 0 expected; found {}", rope.theta));
  }
  if (!positive(rope.factor)) {
    return invalid(
        fmt::format("rope scaling factor: a number above 0 expected; found {}", rope.factor));
  }
  if (!not_negative(rope.attention_factor)) {
    return invalid(fmt::format("rope attention factor: a number of at least 0 expected; found {}",
                               rope.attention_factor));
  }
  const bool needs_original = rope.scaling == RopeScaling::kYarn ||
                              rope.scaling == RopeScaling::kLlama3 ||
                              rope.scaling == RopeScaling::kLongRope;
  if (needs_original && rope.original_context < 1) {
    return invalid(
        fmt::format("rope scaling: the original context is expected to be at least 1; "
                    "found {}",
                    rope.original_context));
  }
  if (rope.scaling == RopeScaling::kYarn &&
      !(positive(rope.beta_slow) && positive(rope.beta_fast))) {
    return invalid(fmt::format("YaRN: beta_fast and beta_slow above 0 expected; found {} and {}",
                               rope.beta_fast, rope.beta_slow));
  }
  if (rope.scaling == RopeScaling::kLlama3 &&
      !(positive(rope.low_freq_factor) && positive(rope.high_freq_factor) &&
        rope.high_freq_factor > rope.low_freq_factor)) {
    return invalid(
        fmt::format("llama3 rope scaling: 0 < low_freq_factor < high_freq_factor "
                    "expected; found {} and {}",
                    rope.low_freq_factor, rope.high_freq_factor));
  }
  if (rope.scaling == RopeScaling::kLongRope) {
    SLUICE_RETURN_IF_ERROR(check_factors(rope.short_factors, rope.dim / 2, "short rope factors"));
    SLUICE_RETURN_IF_ERROR(check_factors(rope.long_factors, rope.dim / 2, "long rope factors"));
  }
  if (!rope.freq_divisors.empty()) {
    SLUICE_RETURN_IF_ERROR(check_factors(rope.freq_divisors, rope.dim / 2, "rope divisors"));
  }
  return {};
}

Outcome check_experts(const MoeConfig& moe) {
  if (moe.experts == 0) return {};
  if (moe.used < 1 || moe.used > moe.experts) {
    return invalid(
        fmt::format("experts used by a token: 1 to {} expected; found {}", moe.experts, moe.used));
  }
  if (moe.ffn < 1) return invalid("the experts' feed-forward size is expected to be at least 1");
  return {};
}

Outcome check_window(const ModelConfig& c) {
  if (c.window_layers.empty()) return {};
  if (static_cast<int>(c.window_layers.size()) != c.layers) {
    return invalid(fmt::format("window of {} layers given; the model has {}",
                               c.window_layers.size(), c.layers));
  }
  if (c.sliding_window < 1 && std::ranges::count(c.window_layers, true) != 0) {
    return invalid(
        fmt::format("sliding window: at least 1 position expected; found {}", c.sliding_window));
  }
  return {};
}

// Collects the tensors of one layer under its prefix.
class Layer {
 public:
  Layer(std::vector<ExpectedTensor>& out, std::string prefix)
      : out_(out), prefix_(std::move(prefix)) {}
  void need(std::string_view name, Shape shape) { add(name, std::move(shape), true); }
  void may(std::string_view name, Shape shape) { add(name, std::move(shape), false); }
  std::string name(std::string_view suffix) const { return fmt::format("{}{}", prefix_, suffix); }

 private:
  void add(std::string_view suffix, Shape shape, bool required) {
    out_.push_back({name(suffix), std::move(shape), required});
  }
  std::vector<ExpectedTensor>& out_;
  std::string prefix_;
};

void add_attention(Layer& layer, const Architecture& a, const ModelConfig& c,
                   const TensorMap& tensors) {
  const int64_t q = int64_t{c.heads} * c.head_dim;
  const int64_t kv = int64_t{c.kv_heads} * c.head_dim;
  layer.need("attn_norm.weight", {c.width});
  if (a.fused && tensors.contains(layer.name("attn_qkv.weight"))) {
    layer.need("attn_qkv.weight", {q + 2 * kv, c.width});
  } else {
    layer.need("attn_q.weight", {q, c.width});
    layer.need("attn_k.weight", {kv, c.width});
    layer.need("attn_v.weight", {kv, c.width});
  }
  if (a.qkv_bias != Bias::kNone) {
    const auto bias = [&](std::string_view name, int64_t rows) {
      a.qkv_bias == Bias::kRequired ? layer.need(name, {rows}) : layer.may(name, {rows});
    };
    bias("attn_q.bias", q);
    bias("attn_k.bias", kv);
    bias("attn_v.bias", kv);
  }
  layer.need("attn_output.weight", {c.width, q});
  if (a.qkv_bias == Bias::kOptional) layer.may("attn_output.bias", {c.width});
  if (a.qk_norm) {
    layer.need("attn_q_norm.weight", {c.head_dim});
    layer.need("attn_k_norm.weight", {c.head_dim});
  }
  if (a.gemma) layer.need("post_attention_norm.weight", {c.width});
}

void add_feed_forward(Layer& layer, const Architecture& a, const ModelConfig& c) {
  layer.need("ffn_norm.weight", {c.width});
  if (a.gemma) layer.need("post_ffw_norm.weight", {c.width});
  if (c.moe.experts == 0) {
    if (a.fused) {
      layer.need("ffn_up.weight", {2 * int64_t{c.ffn}, c.width});
    } else {
      layer.need("ffn_gate.weight", {c.ffn, c.width});
      layer.need("ffn_up.weight", {c.ffn, c.width});
    }
    layer.need("ffn_down.weight", {c.width, c.ffn});
    return;
  }
  const MoeConfig& moe = c.moe;
  layer.need("ffn_gate_inp.weight", {moe.experts, c.width});
  layer.need("ffn_gate_exps.weight", {moe.experts, moe.ffn, c.width});
  layer.need("ffn_up_exps.weight", {moe.experts, moe.ffn, c.width});
  layer.need("ffn_down_exps.weight", {moe.experts, c.width, moe.ffn});
  if (moe.shared_ffn > 0) {
    layer.need("ffn_gate_inp_shexp.weight", {c.width});
    layer.need("ffn_gate_shexp.weight", {moe.shared_ffn, c.width});
    layer.need("ffn_up_shexp.weight", {moe.shared_ffn, c.width});
    layer.need("ffn_down_shexp.weight", {c.width, moe.shared_ffn});
  }
}

bool plain(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

}  // namespace

Outcome check_config(const ModelConfig& c) {
  if (c.kv_heads > c.heads || c.heads % c.kv_heads != 0) {
    return invalid(fmt::format("KV heads: a divisor of the {} attention heads expected; found {}",
                               c.heads, c.kv_heads));
  }
  if (!positive(c.norm_eps) || c.norm_eps > 1.0f) {
    return invalid(fmt::format("RMS norm epsilon: a number above 0 and up to 1 expected; found {}",
                               c.norm_eps));
  }
  if (c.moe.experts == 0 && c.ffn < 1) {
    return invalid("the feed-forward size is expected to be at least 1");
  }
  if (!not_negative(c.attention_scale) || !not_negative(c.attention_softcap) ||
      !not_negative(c.final_softcap) || !positive(c.embedding_scale)) {
    return invalid(
        "attention scale, soft-caps and embedding scale are expected to be finite and "
        "not negative");
  }
  if (!not_negative(c.local_rope_theta)) {
    return invalid(fmt::format("rope base of windowed layers: a number above 0 expected; found {}",
                               c.local_rope_theta));
  }
  SLUICE_RETURN_IF_ERROR(check_rope(c.rope, c.head_dim));
  SLUICE_RETURN_IF_ERROR(check_window(c));
  return check_experts(c.moe);
}

std::vector<ExpectedTensor> expected_tensors(const Architecture& a, const ModelConfig& c,
                                             const TensorMap& tensors) {
  std::vector<ExpectedTensor> out;
  Layer model(out, "");
  model.need("token_embd.weight", {c.vocab, c.width});
  model.need("output_norm.weight", {c.width});
  if (!c.tied_embeddings) model.need("output.weight", {c.vocab, c.width});
  if (a.name == "llama") model.may("rope_freqs.weight", {c.rope.dim / 2});
  if (a.fused) {
    model.may("rope_factors_short.weight", {c.rope.dim / 2});
    model.may("rope_factors_long.weight", {c.rope.dim / 2});
  }
  for (int i = 0; i < c.layers; ++i) {
    Layer layer(out, fmt::format("blk.{}.", i));
    add_attention(layer, a, c, tensors);
    add_feed_forward(layer, a, c);
  }
  return out;
}

Outcome check_tensors(const Architecture& a, const ModelConfig& c, const TensorMap& tensors) {
  std::set<std::string_view> known;
  const std::vector<ExpectedTensor> expected = expected_tensors(a, c, tensors);
  for (const ExpectedTensor& e : expected) {
    known.insert(e.name);
    const auto it = tensors.find(e.name);
    if (it == tensors.end()) {
      if (!e.required) continue;
      return invalid(
          fmt::format("tensor \"{}\" of shape [{}] is missing; a {} model of {} layers "
                      "has it",
                      e.name, fmt::join(e.shape, ", "), a.name, c.layers));
    }
    const tensor::TensorView& found = it->second;
    if (found.shape != e.shape) {
      return invalid(
          fmt::format("tensor \"{}\": the shape [{}] is expected from the model's "
                      "configuration; found [{}] (slowest dimension first)",
                      e.name, fmt::join(e.shape, ", "), fmt::join(found.shape, ", ")));
    }
    if (e.shape.size() == 1 && !plain(found.dtype)) {
      return invalid(
          fmt::format("tensor \"{}\": F32, F16 or BF16 is expected for a vector; found "
                      "{}",
                      e.name, tensor::dtype_info(found.dtype).name));
    }
  }
  for (const auto& [name, view] : tensors) {
    if (known.contains(name)) continue;
    return invalid(
        fmt::format("tensor \"{}\" does not belong to a {} model of {} layers: the file "
                    "and its configuration disagree",
                    printable(name), a.name, c.layers));
  }
  return {};
}

std::vector<float> read_vector(const tensor::TensorView& view) {
  std::vector<float> out(static_cast<size_t>(view.elements()));
  to_floats(view.dtype, view.bytes, out);
  return out;
}

}  // namespace sluice::formats
