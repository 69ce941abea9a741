#include "formats/hf_names.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <utility>

#include "formats/ranges.h"

namespace sluice::formats {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr std::array kModelNames = {
    Pair{"embed_tokens.weight", "token_embd.weight"},
    Pair{"norm.weight", "output_norm.weight"},
    Pair{"lm_head.weight", "output.weight"},
};

// Behind "layers.N." and before ".weight" or ".bias".
constexpr std::array kLayerNames = {
    Pair{"input_layernorm", "attn_norm"},
    Pair{"self_attn.q_proj", "attn_q"},
    Pair{"self_attn.k_proj", "attn_k"},
    Pair{"self_attn.v_proj", "attn_v"},
    Pair{"self_attn.qkv_proj", "attn_qkv"},
    Pair{"self_attn.o_proj", "attn_output"},
    Pair{"self_attn.q_norm", "attn_q_norm"},
    Pair{"self_attn.k_norm", "attn_k_norm"},
    Pair{"pre_feedforward_layernorm", "ffn_norm"},
    Pair{"post_feedforward_layernorm", "post_ffw_norm"},
    Pair{"mlp.gate_proj", "ffn_gate"},
    Pair{"mlp.up_proj", "ffn_up"},
    Pair{"mlp.gate_up_proj", "ffn_up"},
    Pair{"mlp.down_proj", "ffn_down"},
    Pair{"mlp.gate", "ffn_gate_inp"},
    Pair{"block_sparse_moe.gate", "ffn_gate_inp"},
    Pair{"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    Pair{"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    Pair{"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    Pair{"mlp.shared_expert.down_proj", "ffn_down_shexp"},
};

// Behind "experts.E.".
constexpr std::array kExpertNames = {
    Pair{"gate_proj.weight", "ffn_gate_exps.weight"}, Pair{"up_proj.weight", "ffn_up_exps.weight"},
    Pair{"down_proj.weight", "ffn_down_exps.weight"}, Pair{"w1.weight", "ffn_gate_exps.weight"},
    Pair{"w3.weight", "ffn_up_exps.weight"},          Pair{"w2.weight", "ffn_down_exps.weight"},
};

template <size_t N>
std::string_view lookup(const std::array<Pair, N>& table, std::string_view key) {
  for (const auto& [from, to] : table) {
    if (from == key) return to;
  }
  return "";
}

bool remove_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Takes "123." off the front.
std::optional<int> take_index(std::string_view& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto used = static_cast<size_t>(end - text.data());
  if (error != std::errc() || used >= text.size() || *end != '.' || value < 0) return std::nullopt;
  text.remove_prefix(used + 1);
  return value;
}

bool unused(std::string_view name) {
  return name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.") ||
         name.ends_with("rotary_emb.inv_freq");
}

std::optional<CanonicalName> layer_name(const Architecture& a, std::string_view rest) {
  const auto layer = take_index(rest);
  if (!layer) return std::nullopt;
  std::string_view expert = rest;
  if (remove_prefix(expert, "mlp.experts.") || remove_prefix(expert, "block_sparse_moe.experts.")) {
    const auto index = take_index(expert);
    const std::string_view part = lookup(kExpertNames, expert);
    if (!index || part.empty()) return std::nullopt;
    return CanonicalName{fmt::format("blk.{}.{}", *layer, part), index};
  }
  const size_t dot = rest.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view module = rest.substr(0, dot);
  std::string_view to = lookup(kLayerNames, module);
  if (module == "post_attention_layernorm") to = a.gemma ? "post_attention_norm" : "ffn_norm";
  if (to.empty()) return std::nullopt;
  return CanonicalName{fmt::format("blk.{}.{}{}", *layer, to, rest.substr(dot)), {}};
}

}  // namespace

std::optional<CanonicalName> canonical_name(const Architecture& a, std::string_view hf_name) {
  std::string_view rest = hf_name;
  // Which prefixes there are depends on the class and the version that saved the file.
  remove_prefix(rest, "model.");
  if (remove_prefix(rest, "language_model.")) remove_prefix(rest, "model.");
  if (unused(rest)) return std::nullopt;
  if (const std::string_view to = lookup(kModelNames, rest); !to.empty()) {
    return CanonicalName{std::string(to), {}};
  }
  std::string_view layer = rest;
  if (remove_prefix(layer, "layers.")) {
    if (auto name = layer_name(a, layer)) return name;
  }
  return CanonicalName{std::string(hf_name), {}};
}

}  // namespace sluice::formats
