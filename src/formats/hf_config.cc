#include "formats/hf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/limits.h"
#include "formats/generation_check.h"
#include "formats/model_check.h"
#include "formats/printable.h"

namespace sluice::formats {
namespace {

Result<json::value> parse_object(std::string_view text, std::string_view file) {
  auto parsed = parse_json(text, {.max_bytes = limits::kMaxConfigBytes});
  if (!parsed) return std::unexpected(parsed.error().at(file));
  if (!parsed->is_object()) {
    return invalid(fmt::format("{}: an object is expected; found {}", file, json_kind(*parsed)));
  }
  return parsed;
}

void read_dimensions(JsonFields& f, const Architecture& a, ModelConfig& c) {
  const bool gemma3 = a.name == "gemma3";
  c.layers = f.required_integer("num_hidden_layers", kLayerRange);
  c.width = f.required_integer("hidden_size", kWidthRange);
  c.ffn = f.required_integer("intermediate_size", kFfnRange);
  const auto dimension = [&](std::string_view key, IntRange range, int gemma3_default) {
    if (gemma3) return f.integer(key, range).value_or(gemma3_default);
    return f.required_integer(key, range);
  };
  c.heads = dimension("num_attention_heads", kHeadRange, 8);
  c.vocab = dimension("vocab_size", kVocabRange, 262208);
  c.context = dimension("max_position_embeddings", kContextRange, 131072);
  c.kv_heads = f.integer("num_key_value_heads", kHeadRange).value_or(gemma3 ? 4 : c.heads);
  auto head_dim = f.integer("head_dim", kHeadDimRange);
  if (!head_dim && a.gemma) head_dim = 256;
  if (!head_dim && (a.name == "qwen3" || a.name == "qwen3moe")) head_dim = 128;
  if (!head_dim && c.width % c.heads != 0) {
    f.refuse("num_attention_heads",
             fmt::format("{} heads do not divide the width {}", c.heads, c.width));
  }
  c.head_dim = head_dim.value_or(c.width / c.heads);
  const auto eps = f.number("rms_norm_eps");
  if (!eps && !a.gemma) f.refuse("rms_norm_eps", "a number is expected; it is missing");
  c.norm_eps = eps.value_or(1e-6f);
  c.tied_embeddings = f.boolean("tie_word_embeddings").value_or(a.gemma);
}

void read_activation(JsonFields& f, const Architecture& a, ModelConfig& c) {
  const std::string_view expected = a.gemma ? "gelu_pytorch_tanh" : "silu";
  c.activation = a.gemma ? Activation::kGeluTanh : Activation::kSilu;
  const auto name = f.has("hidden_activation") ? f.text("hidden_activation") : f.text("hidden_act");
  if (name && *name != expected) {
    f.refuse("hidden_act", fmt::format("\"{}\" is expected for {}; found \"{}\"", expected, a.name,
                                       printable(*name)));
  }
}

void read_experts(JsonFields& f, std::string_view hf_class, const Architecture& a, ModelConfig& c) {
  if (hf_class == "MixtralForCausalLM") {
    c.moe.experts = f.required_integer("num_local_experts", {1, kExpertRange.high});
    c.moe.used = f.required_integer("num_experts_per_tok", {1, kExpertRange.high});
    c.moe.ffn = c.ffn;
    return;
  }
  if (a.experts != Experts::kRequired) return;
  c.moe.experts = f.required_integer("num_experts", {1, kExpertRange.high});
  c.moe.used = f.required_integer("num_experts_per_tok", {1, kExpertRange.high});
  c.moe.ffn = f.required_integer("moe_intermediate_size", kFfnRange);
  c.moe.normalize_top_k = f.boolean("norm_topk_prob").value_or(false);
  if (a.shared_expert) {
    c.moe.shared_ffn = f.required_integer("shared_expert_intermediate_size", kFfnRange);
  }
  if (f.integer("decoder_sparse_step", {0, kLayerRange.high}).value_or(1) != 1 ||
      !f.integers("mlp_only_layers", kLayerRange.high, {}).empty()) {
    f.refuse("decoder_sparse_step", "a mixture of dense and sparse layers is not supported");
  }
}

// Which layers have the window, when the file does not list them.
std::vector<bool> default_windows(JsonFields& f, const Architecture& a, const ModelConfig& c) {
  int period = 0;
  int first = 0;
  if (a.gemma) {
    period = a.name == "gemma2" ? 2 : 6;
    for (const std::string_view key : {"sliding_window_pattern", "_sliding_window_pattern"}) {
      period = f.integer(key, {1, kLayerRange.high}).value_or(period);
    }
  } else if (a.name.starts_with("qwen")) {
    first = f.integer("max_window_layers", {0, kLayerRange.high}).value_or(28);
  }
  std::vector<bool> out(static_cast<size_t>(c.layers));
  for (int i = 0; i < c.layers; ++i) {
    out[static_cast<size_t>(i)] = i >= first && (period == 0 || (i + 1) % period != 0);
  }
  return out;
}

void read_windows(JsonFields& f, std::string_view hf_class, const Architecture& a, ModelConfig& c) {
  if (hf_class == "LlamaForCausalLM") return;
  const bool qwen = a.name.starts_with("qwen");
  if (qwen && !f.boolean("use_sliding_window").value_or(false)) return;
  const int fallback = a.gemma || qwen ? 4096 : 0;
  c.sliding_window = f.integer("sliding_window", kWindowRange).value_or(fallback);
  if (c.sliding_window == 0) return;
  if (!f.has("layer_types")) {
    c.window_layers = default_windows(f, a, c);
    return;
  }
  for (const std::string& type : f.texts("layer_types", kLayerRange.high)) {
    if (type != "sliding_attention" && type != "full_attention") {
      f.refuse("layer_types", fmt::format("sliding_attention or full_attention is expected; found "
                                          "\"{}\"",
                                          printable(type)));
    }
    c.window_layers.push_back(type == "sliding_attention");
  }
}

void read_gemma(JsonFields& f, const Architecture& a, ModelConfig& c) {
  if (!a.gemma) return;
  const bool gemma2 = a.name == "gemma2";
  c.embedding_scale = std::sqrt(static_cast<float>(c.width));
  const float scalar = f.number("query_pre_attn_scalar").value_or(256.0f);
  if (scalar <= 0.0f) {
    f.refuse("query_pre_attn_scalar", fmt::format("a number above 0 expected; found {}", scalar));
  }
  c.attention_scale = 1.0f / std::sqrt(scalar);
  // null switches a soft-cap off; gemma2 has both when they are not mentioned.
  const auto softcap = [&](std::string_view key, float absent, const json::object& object) {
    return object.contains(key) ? f.number(key).value_or(0.0f) : absent;
  };
  const json::object& object = f.whole();
  c.attention_softcap = softcap("attn_logit_softcapping", gemma2 ? 50.0f : 0.0f, object);
  c.final_softcap = softcap("final_logit_softcapping", gemma2 ? 30.0f : 0.0f, object);
  if (f.boolean("use_bidirectional_attention").value_or(false)) {
    f.refuse("use_bidirectional_attention", "true is not supported");
  }
}

// "architectures": ["…ForCausalLM"].
Result<std::string> hf_class_of(JsonFields& f) {
  const std::vector<std::string> classes = f.texts("architectures", 64);
  SLUICE_RETURN_IF_ERROR(f.outcome());
  if (classes.size() != 1) {
    return invalid(fmt::format("config.json: one entry in \"architectures\" expected; found {}",
                               classes.size()));
  }
  return classes[0];
}

Outcome refuse_quantized(JsonFields& f) {
  const json::object* quantization = f.object("quantization_config");
  SLUICE_RETURN_IF_ERROR(f.outcome());
  if (quantization == nullptr) return {};
  JsonFields q(*quantization, "quantization_config.");
  return fail(Code::kUnimplemented,
              fmt::format("the checkpoint is quantized (\"{}\"), which is not supported in "
                          "safetensors; use the unquantized one or a GGUF",
                          printable(q.text("quant_method").value_or("unknown method"))));
}

}  // namespace

Result<HfConfig> parse_hf_config(std::string_view config_json) {
  SLUICE_ASSIGN_OR_RETURN(const json::value parsed, parse_object(config_json, "config.json"));
  JsonFields top(parsed.get_object(), "config.json: ");
  SLUICE_ASSIGN_OR_RETURN(const std::string hf_class, hf_class_of(top));
  HfConfig out;
  out.architecture = find_hf_class(hf_class);
  if (out.architecture == nullptr) return unknown_architecture(hf_class);
  SLUICE_RETURN_IF_ERROR(refuse_quantized(top));

  // A model with a vision part keeps its language model's configuration in an object of its own.
  const json::object* text = top.object("text_config");
  SLUICE_RETURN_IF_ERROR(top.outcome());
  JsonFields f(text != nullptr ? *text : parsed.get_object(),
               text != nullptr ? "config.json: text_config." : "config.json: ");
  const Architecture& a = *out.architecture;
  ModelConfig& c = out.model;
  c.architecture = a.name;
  c.name = printable(top.text("_name_or_path").value_or(""));
  read_dimensions(f, a, c);
  SLUICE_RETURN_IF_ERROR(f.outcome());
  read_activation(f, a, c);
  read_experts(f, hf_class, a, c);
  read_hf_rope(f, hf_class, c);
  read_windows(f, hf_class, a, c);
  read_gemma(f, a, c);
  SLUICE_RETURN_IF_ERROR(f.outcome());

  const IntRange ids{0, c.vocab - 1};
  const auto single = [&](std::string_view key) -> std::optional<int32_t> {
    const std::vector<int32_t> found = top.integers(key, kMaxEosIds, ids);
    return found.empty() ? std::nullopt : std::optional(found[0]);
  };
  out.bos = single("bos_token_id");
  out.eos_ids = top.integers("eos_token_id", kMaxEosIds, ids);
  // Nothing is ever padded here, and some published files name an id that is none.
  out.pad = top.integer("pad_token_id", {INT32_MIN, INT32_MAX});
  if (out.pad && (*out.pad < 0 || *out.pad >= c.vocab)) out.pad.reset();
  SLUICE_RETURN_IF_ERROR(top.outcome());
  const Outcome checked = check_config(c);
  if (!checked) return std::unexpected(checked.error().at("config.json"));
  return out;
}

Result<GenerationDefaults> parse_generation_config(std::string_view json_text, int vocab) {
  SLUICE_ASSIGN_OR_RETURN(const json::value parsed,
                          parse_object(json_text, "generation_config.json"));
  JsonFields f(parsed.get_object(), "generation_config.json: ");
  GenerationDefaults g;
  g.temperature = f.number("temperature");
  g.top_p = f.number("top_p");
  g.min_p = f.number("min_p");
  g.repetition_penalty = f.number("repetition_penalty");
  g.top_k = f.integer("top_k", {INT32_MIN, INT32_MAX});
  g.eos_ids = f.integers("eos_token_id", kMaxEosIds, {0, vocab - 1});
  SLUICE_RETURN_IF_ERROR(f.outcome());
  SLUICE_RETURN_IF_ERROR(check_generation(g, vocab));
  return g;
}

}  // namespace sluice::formats
