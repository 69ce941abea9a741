// Test support: small models of every architecture with random F32 weights, held in memory.
#pragma once

#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "formats/model_source.h"

namespace sluice::model {

class FakeSource final : public formats::ModelSource {
 public:
  FakeSource(formats::ModelConfig config, uint64_t seed) : config_(std::move(config)), rng_(seed) {}

  const formats::ModelConfig& config() const override { return config_; }
  const formats::TokenizerSource& tokenizer() const override { return tokenizer_; }
  const formats::GenerationDefaults& generation() const override { return generation_; }
  const std::string& chat_template() const override { return template_; }
  const tensor::TensorView* find(std::string_view name) const override {
    const auto it = tensors_.find(name);
    return it == tensors_.end() ? nullptr : &it->second;
  }
  const std::map<std::string, tensor::TensorView, std::less<>>& tensors() const override {
    return tensors_;
  }
  const std::vector<formats::MetadataEntry>& metadata() const override { return metadata_; }
  std::string_view format() const override { return "fake"; }
  uint64_t file_bytes() const override { return 0; }
  uint64_t weights_digest() const override { return 0; }

  // Values around `mean`, uniform within ±spread.
  void put(const std::string& name, tensor::Shape shape, double spread, double mean = 0.0) {
    int64_t count = 1;
    for (const int64_t d : shape) count *= d;
    std::vector<float>& values = storage_.emplace_back(static_cast<size_t>(count));
    for (float& v : values) v = static_cast<float>(mean + spread * (2 * rng_.uniform() - 1));
    tensors_[name] = {.dtype = tensor::DType::kF32,
                      .shape = std::move(shape),
                      .bytes = std::as_bytes(std::span(values))};
  }
  // A matrix that keeps the size of what it multiplies.
  void put_matrix(const std::string& name, tensor::Shape shape, double gain = 1.0) {
    put(name, shape, gain * std::sqrt(3.0 / static_cast<double>(shape.back())));
  }
  void erase(const std::string& name) { tensors_.erase(name); }

  std::vector<double> doubles(const std::string& name) const {
    const tensor::TensorView& view = tensors_.at(name);
    const auto* p = reinterpret_cast<const float*>(view.bytes.data());
    return {p, p + view.elements()};
  }

 private:
  formats::ModelConfig config_;
  Rng rng_;
  std::deque<std::vector<float>> storage_;
  std::map<std::string, tensor::TensorView, std::less<>> tensors_;
  formats::TokenizerSource tokenizer_;
  formats::GenerationDefaults generation_;
  std::string template_;
  std::vector<formats::MetadataEntry> metadata_;
};

// One case of the tests: an architecture with a way of being configured.
struct FakeModel {
  std::string name;
  formats::ModelConfig config;
  int max_context = 0;
};

inline formats::ModelConfig fake_config(const std::string& architecture) {
  formats::ModelConfig c;
  c.architecture = architecture;
  c.layers = 3;
  c.width = 36;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 8;
  c.ffn = 43;  // odd, so that vector kernels meet a tail at every row
  c.vocab = 61;
  c.context = 64;
  c.rope.dim = 8;
  return c;
}

inline std::vector<FakeModel> fake_models() {
  using formats::RopeScaling;
  using formats::RopeStyle;
  std::vector<FakeModel> models;
  const auto add = [&](std::string name, const std::string& architecture,
                       const std::function<void(FakeModel&, formats::ModelConfig&)>& vary) {
    FakeModel m{.name = std::move(name), .config = fake_config(architecture)};
    vary(m, m.config);
    models.push_back(std::move(m));
  };
  const auto stretch = [](formats::ModelConfig& c, RopeScaling scaling, float factor,
                          int original) {
    c.rope.scaling = scaling;
    c.rope.factor = factor;
    c.rope.original_context = original;
  };

  add("llama", "llama", [](auto&, auto& c) { c.rope.style = RopeStyle::kNeighbours; });
  add("llama_linear", "llama", [&](auto&, auto& c) { stretch(c, RopeScaling::kLinear, 4.0f, 16); });
  add("llama3", "llama", [&](auto&, auto& c) {
    c.head_dim = c.rope.dim = 16;
    c.rope.theta = 500.0f;
    stretch(c, RopeScaling::kLlama3, 8.0f, 32);
  });
  add("llama3_divisors", "llama", [&](auto&, auto& c) {
    c.rope.style = RopeStyle::kNeighbours;
    stretch(c, RopeScaling::kLlama3, 8.0f, 32);
    c.rope.freq_divisors = {1.0f, 1.0f, 2.5f, 8.0f};
  });
  add("llama_yarn", "llama", [&](auto&, auto& c) {
    c.head_dim = c.rope.dim = 16;
    c.rope.theta = 100.0f;
    stretch(c, RopeScaling::kYarn, 4.0f, 256);
  });
  add("llama_yarn_factor", "llama", [&](auto&, auto& c) {
    stretch(c, RopeScaling::kYarn, 4.0f, 32);
    c.rope.attention_factor = 0.9f;
  });
  add("mistral", "llama", [](auto&, auto& c) {
    c.rope.style = RopeStyle::kNeighbours;
    c.sliding_window = 5;
    c.window_layers.assign(3, true);
  });
  add("mixtral", "llama", [](auto&, auto& c) {
    c.rope.style = RopeStyle::kNeighbours;
    c.moe = {.experts = 5, .used = 2, .ffn = 19};
  });
  add("qwen2", "qwen2", [](auto&, auto& c) { c.tied_embeddings = true; });
  add("qwen3", "qwen3", [](auto&, auto& c) { c.head_dim = c.rope.dim = 14; });
  add("gemma2", "gemma2", [](auto&, auto& c) {
    c.activation = formats::Activation::kGeluTanh;
    c.sliding_window = 4;
    c.window_layers = {true, false, true};
    c.attention_scale = 0.25f;
    c.attention_softcap = 3.0f;
    c.final_softcap = 2.0f;
    c.embedding_scale = 6.0f;
    c.tied_embeddings = true;
  });
  add("gemma3", "gemma3", [&](auto&, auto& c) {
    c.activation = formats::Activation::kGeluTanh;
    c.sliding_window = 6;
    c.window_layers = {true, true, false};
    c.rope.theta = 1000.0f;
    c.local_rope_theta = 50.0f;
    stretch(c, RopeScaling::kLinear, 8.0f, 0);
    c.embedding_scale = 6.0f;
    c.tied_embeddings = true;
  });
  for (const int max_context : {16, 64}) {
    add(max_context == 16 ? "phi3_short" : "phi3_long", "phi3", [&](auto& m, auto& c) {
      m.max_context = max_context;
      c.rope.dim = 6;  // some dimensions stay as they are
      stretch(c, RopeScaling::kLongRope, 1.0f, 16);
      c.rope.short_factors = {1.0f, 1.1f, 1.3f};
      c.rope.long_factors = {1.2f, 2.0f, 9.0f};
    });
  }
  add("qwen2moe", "qwen2moe", [](auto&, auto& c) {
    c.moe = {.experts = 6, .used = 3, .ffn = 13, .shared_ffn = 21, .normalize_top_k = false};
  });
  add("qwen3moe", "qwen3moe", [](auto&, auto& c) {
    c.moe = {.experts = 7, .used = 3, .ffn = 17, .shared_ffn = 0, .normalize_top_k = true};
  });
  return models;
}

// The tensors that each family's files have; written from the files' side, not the loader's.
inline FakeSource fake_source(const formats::ModelConfig& c, uint64_t seed) {
  FakeSource s(c, seed);
  const std::string& a = c.architecture;
  const bool gemma = a.starts_with("gemma");
  const int64_t q = int64_t{c.heads} * c.head_dim;
  const int64_t kv = int64_t{c.kv_heads} * c.head_dim;
  s.put_matrix("token_embd.weight", {c.vocab, c.width}, gemma ? 0.5 : 3.0);
  s.put("output_norm.weight", {c.width}, 0.3, 1.0);
  if (!c.tied_embeddings) s.put_matrix("output.weight", {c.vocab, c.width});
  for (int i = 0; i < c.layers; ++i) {
    const std::string b = "blk." + std::to_string(i) + ".";
    const auto norm = [&](const std::string& part, int64_t n) {
      s.put(b + part + ".weight", {n}, 0.3, 1.0);
    };
    norm("attn_norm", c.width);
    norm("ffn_norm", c.width);
    if (gemma) {
      norm("post_attention_norm", c.width);
      norm("post_ffw_norm", c.width);
    }
    if (a == "phi3") {
      s.put_matrix(b + "attn_qkv.weight", {q + 2 * kv, c.width}, 1.5);
    } else {
      s.put_matrix(b + "attn_q.weight", {q, c.width}, 1.5);
      s.put_matrix(b + "attn_k.weight", {kv, c.width}, 1.5);
      s.put_matrix(b + "attn_v.weight", {kv, c.width});
    }
    if (a.starts_with("qwen2")) {
      s.put(b + "attn_q.bias", {q}, 0.5);
      s.put(b + "attn_k.bias", {kv}, 0.5);
      s.put(b + "attn_v.bias", {kv}, 0.5);
    }
    if (a.starts_with("qwen3") || a == "gemma3") {
      norm("attn_q_norm", c.head_dim);
      norm("attn_k_norm", c.head_dim);
    }
    s.put_matrix(b + "attn_output.weight", {c.width, q});
    if (c.moe.experts > 0) {
      const formats::MoeConfig& m = c.moe;
      s.put_matrix(b + "ffn_gate_inp.weight", {m.experts, c.width}, 2.0);
      s.put_matrix(b + "ffn_gate_exps.weight", {m.experts, m.ffn, c.width});
      s.put_matrix(b + "ffn_up_exps.weight", {m.experts, m.ffn, c.width});
      s.put_matrix(b + "ffn_down_exps.weight", {m.experts, c.width, m.ffn});
      if (m.shared_ffn > 0) {
        s.put_matrix(b + "ffn_gate_inp_shexp.weight", {c.width});
        s.put_matrix(b + "ffn_gate_shexp.weight", {m.shared_ffn, c.width});
        s.put_matrix(b + "ffn_up_shexp.weight", {m.shared_ffn, c.width});
        s.put_matrix(b + "ffn_down_shexp.weight", {c.width, m.shared_ffn});
      }
    } else if (a == "phi3") {
      s.put_matrix(b + "ffn_up.weight", {2 * int64_t{c.ffn}, c.width});
      s.put_matrix(b + "ffn_down.weight", {c.width, c.ffn});
    } else {
      s.put_matrix(b + "ffn_gate.weight", {c.ffn, c.width});
      s.put_matrix(b + "ffn_up.weight", {c.ffn, c.width});
      s.put_matrix(b + "ffn_down.weight", {c.width, c.ffn});
    }
  }
  return s;
}

}  // namespace sluice::model
