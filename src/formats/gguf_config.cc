#include "formats/gguf_config.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "formats/architecture.h"
#include "formats/gguf_fields.h"
#include "formats/model_check.h"
#include "formats/printable.h"

namespace sluice::formats {
namespace {

constexpr int kGemma2Window = 4096;
constexpr int kGemma2Layers27B = 46;
constexpr int kGemma3Layers27B = 62;
constexpr float kGemma3LocalTheta = 10000.0f;

void read_dimensions(GgufFields& f, const Architecture& a, ModelConfig& c) {
  c.layers = f.required_integer("block_count", kLayerRange);
  c.width = f.required_integer("embedding_length", kWidthRange);
  c.context = f.required_integer("context_length", kContextRange);
  c.heads = f.required_integer("attention.head_count", kHeadRange);
  c.kv_heads = f.integer("attention.head_count_kv", kHeadRange).value_or(c.heads);
  c.ffn = f.integer("feed_forward_length", kFfnRange).value_or(0);
  const auto eps = f.number("attention.layer_norm_rms_epsilon");
  if (!eps) f.refuse("attention.layer_norm_rms_epsilon", "expected a float; it is missing");
  c.norm_eps = eps.value_or(1e-5f);

  const auto key = f.integer("attention.key_length", kHeadDimRange);
  const auto value = f.integer("attention.value_length", kHeadDimRange);
  if (!key && c.heads > 0 && c.width % c.heads != 0) {
    f.refuse("attention.head_count",
             fmt::format("{} heads do not divide the width {}", c.heads, c.width));
  }
  c.head_dim = key.value_or(c.width / c.heads);
  if (value.value_or(c.head_dim) != c.head_dim) {
    f.refuse("attention.value_length",
             fmt::format("expected the size of keys, {}; found {}", c.head_dim, *value));
  }
  c.activation = a.gemma ? Activation::kGeluTanh : Activation::kSilu;
  if (a.gemma) c.embedding_scale = std::sqrt(static_cast<float>(c.width));
}

void read_experts(GgufFields& f, const Architecture& a, ModelConfig& c) {
  if (a.experts == Experts::kNone) return;
  const int experts = f.integer("expert_count", kExpertRange).value_or(0);
  if (experts == 0) {
    if (a.experts == Experts::kRequired) f.refuse("expert_count", "at least 1 expert expected");
    return;
  }
  c.moe.experts = experts;
  c.moe.used = f.required_integer("expert_used_count", {1, kExpertRange.high});
  c.moe.normalize_top_k = a.normalize_top_k;
  c.moe.ffn = c.ffn;
  if (a.experts == Experts::kRequired) {
    c.moe.ffn = f.integer("expert_feed_forward_length", kFfnRange).value_or(c.ffn / c.moe.used);
  }
  if (a.shared_expert) {
    c.moe.shared_ffn = f.integer("expert_shared_feed_forward_length", kFfnRange).value_or(c.ffn);
  }
}

Result<RopeScaling> scaling_of(std::string_view type) {
  if (type == "none") return RopeScaling::kNone;
  if (type == "linear") return RopeScaling::kLinear;
  if (type == "yarn") return RopeScaling::kYarn;
  if (type == "longrope") return RopeScaling::kLongRope;
  return fail(Code::kUnimplemented,
              fmt::format("rope scaling \"{}\" is not supported; supported are none, linear, yarn "
                          "and longrope",
                          printable(type)));
}

// A factor without a type means linear scaling; phi3 files carry longrope's factors as tensors and
// no type.
void read_rope_scaling(GgufFields& f, const TensorMap& tensors, RopeConfig& rope, int context) {
  const auto scaling = scaling_of(f.text("rope.scaling.type").value_or("linear"));
  if (!scaling) return f.refuse("rope.scaling.type", scaling.error().message());
  rope.scaling = *scaling;
  rope.factor = f.number("rope.scaling.factor").value_or(0.0f);
  if (rope.factor == 0.0f) rope.factor = f.number("rope.scale_linear").value_or(0.0f);
  if (rope.factor == 0.0f || rope.scaling == RopeScaling::kNone) rope.factor = 1.0f;
  if (rope.scaling == RopeScaling::kLinear && rope.factor == 1.0f) {
    rope.scaling = RopeScaling::kNone;
  }
  if (tensors.contains("rope_factors_long.weight")) rope.scaling = RopeScaling::kLongRope;
  rope.original_context =
      f.integer("rope.scaling.original_context_length", kContextRange).value_or(context);
  rope.beta_fast = f.number("rope.scaling.yarn_beta_fast").value_or(rope.beta_fast);
  rope.beta_slow = f.number("rope.scaling.yarn_beta_slow").value_or(rope.beta_slow);
  if (const auto ext = f.number("rope.scaling.yarn_ext_factor"); ext && *ext >= 0.0f) {
    if (*ext != (rope.scaling == RopeScaling::kYarn ? 1.0f : 0.0f)) {
      f.refuse("rope.scaling.yarn_ext_factor", fmt::format("{} is not supported", *ext));
    }
  }

  // The file's factor multiplies what the scheme itself applies.
  const float extra = f.number("rope.scaling.attn_factor").value_or(1.0f);
  if (rope.scaling == RopeScaling::kLongRope) {
    rope.attention_factor = extra;
  } else if (rope.scaling == RopeScaling::kYarn) {
    const float own = rope.factor <= 1.0f ? 1.0f : 0.1f * std::log(rope.factor) + 1.0f;
    rope.attention_factor = extra == 1.0f ? 0.0f : own * extra;
  } else if (extra != 1.0f) {
    f.refuse("rope.scaling.attn_factor",
             fmt::format("{} is supported with yarn and longrope scaling only", extra));
  }
}

void read_factors(GgufFields& f, const TensorMap& tensors, std::string_view name,
                  std::vector<float>& out) {
  const auto it = tensors.find(name);
  if (it == tensors.end()) return;
  const bool readable = it->second.dtype == tensor::DType::kF32 && it->second.shape.size() == 1 &&
                        it->second.shape[0] <= kHeadDimRange.high;
  if (!readable) return f.refuse("rope", fmt::format("{}: a short F32 vector expected", name));
  out = read_vector(it->second);
}

void read_rope(GgufFields& f, const Architecture& a, const TensorMap& tensors, ModelConfig& c) {
  c.rope.style = a.gguf_rope;
  c.rope.dim = f.integer("rope.dimension_count", kHeadDimRange).value_or(c.head_dim);
  c.rope.theta = f.number("rope.freq_base").value_or(10000.0f);
  read_rope_scaling(f, tensors, c.rope, c.context);
  read_factors(f, tensors, "rope_freqs.weight", c.rope.freq_divisors);
  read_factors(f, tensors, "rope_factors_short.weight", c.rope.short_factors);
  read_factors(f, tensors, "rope_factors_long.weight", c.rope.long_factors);
}

// Of every `period` layers the last attends to everything.
std::vector<bool> windows(int layers, int period) {
  std::vector<bool> out(static_cast<size_t>(layers));
  for (int i = 0; i < layers; ++i) out[static_cast<size_t>(i)] = i % period < period - 1;
  return out;
}

void read_windows(GgufFields& f, const Architecture& a, ModelConfig& c) {
  const int fallback = a.name == "gemma2" ? kGemma2Window : 0;
  c.sliding_window = f.integer("attention.sliding_window", kWindowRange).value_or(fallback);
  if (c.sliding_window == 0) return;
  if (!a.gemma) {
    // Mistral and phi3: all layers. qwen's files name a window that their layers do not use.
    const bool uses = a.name == "llama" || a.name == "phi3";
    if (uses) c.window_layers.assign(static_cast<size_t>(c.layers), true);
    if (!uses) c.sliding_window = 0;
    return;
  }
  const int period = a.name == "gemma2" ? 2 : 6;
  if (f.has("attention.sliding_window_pattern")) {
    const auto given = f.pattern("attention.sliding_window_pattern", c.layers);
    if (given) {
      c.window_layers = *given;
      return;
    }
    const auto own = f.integer("attention.sliding_window_pattern", {1, kLayerRange.high});
    c.window_layers = windows(c.layers, own.value_or(period));
    return;
  }
  c.window_layers = windows(c.layers, period);
}

void read_gemma(GgufFields& f, const Architecture& a, ModelConfig& c) {
  if (!a.gemma) return;
  const bool gemma2 = a.name == "gemma2";
  // The 27B models divide by the width a head would have, not by the one it has.
  const bool is_27b = c.layers == (gemma2 ? kGemma2Layers27B : kGemma3Layers27B);
  c.attention_scale = 1.0f / std::sqrt(static_cast<float>(is_27b ? c.width / c.heads : c.head_dim));
  if (gemma2) {
    c.attention_softcap = f.number("attn_logit_softcapping").value_or(50.0f);
    c.final_softcap = f.number("final_logit_softcapping").value_or(30.0f);
    c.local_rope_theta = f.number("rope.freq_base_swa").value_or(0.0f);
  } else {
    c.final_softcap = f.number("final_logit_softcapping").value_or(0.0f);
    if (c.sliding_window > 0) {
      c.local_rope_theta = f.number("rope.freq_base_swa").value_or(kGemma3LocalTheta);
    }
  }
}

Outcome read_vocabulary(const GgufFile& file, GgufFields& f, const TensorMap& tensors,
                        ModelConfig& c) {
  const auto embedding = tensors.find("token_embd.weight");
  if (embedding == tensors.end()) return invalid("tensor \"token_embd.weight\" is missing");
  if (embedding->second.shape.size() != 2) {
    return invalid("tensor \"token_embd.weight\" is expected to be a matrix");
  }
  const int64_t rows = embedding->second.shape[0];
  if (rows > kVocabRange.high) {
    return fail(Code::kTooLarge,
                fmt::format("a vocabulary of {}; at most {}", rows, kVocabRange.high));
  }
  const GgufValue* tokens = file.find("tokenizer.ggml.tokens");
  if (tokens != nullptr && tokens->count != static_cast<uint64_t>(rows)) {
    return invalid(
        fmt::format("the vocabulary has {} tokens, the embedding matrix {} rows; they "
                    "are expected to be equal",
                    tokens->count, rows));
  }
  const auto given = f.integer("vocab_size", kVocabRange);
  if (given && *given != rows) {
    return invalid(
        fmt::format("vocab_size is {}, the embedding matrix has {} rows; they are "
                    "expected to be equal",
                    *given, rows));
  }
  c.vocab = static_cast<int>(rows);
  c.tied_embeddings = !tensors.contains("output.weight");
  return {};
}

}  // namespace

Result<ModelConfig> gguf_config(const GgufFile& file, const TensorMap& tensors) {
  GgufFields general(file, "general.");
  const auto name = general.text("architecture");
  SLUICE_RETURN_IF_ERROR(general.outcome());
  if (!name) return invalid("metadata key \"general.architecture\" is missing");
  const Architecture* a = find_architecture(*name);
  if (a == nullptr) return unknown_architecture(*name);

  ModelConfig c;
  c.architecture = a->name;
  c.name = printable(general.text("name").value_or(""));
  GgufFields f(file, fmt::format("{}.", a->name));
  read_dimensions(f, *a, c);
  SLUICE_RETURN_IF_ERROR(f.outcome());
  read_experts(f, *a, c);
  read_rope(f, *a, tensors, c);
  read_windows(f, *a, c);
  read_gemma(f, *a, c);
  SLUICE_RETURN_IF_ERROR(f.outcome());
  SLUICE_RETURN_IF_ERROR(read_vocabulary(file, f, tensors, c));
  SLUICE_RETURN_IF_ERROR(f.outcome());
  return c;
}

}  // namespace sluice::formats
