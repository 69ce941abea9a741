#include "cli/quantize_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

namespace sluice::cli {
namespace {

using tensor::DType;

constexpr QuantizeTarget kTargets[] = {
    {"Q8_0", DType::kQ8_0, 7}, {"Q6_K", DType::kQ6_K, 18}, {"Q4_K", DType::kQ4_K, 15},
    {"Q4_0", DType::kQ4_0, 2}, {"F16", DType::kF16, 1},    {"BF16", DType::kBF16, 32},
};

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

// The N of "blk.N.…"; -1 for what belongs to no layer.
int layer_of(std::string_view name) {
  if (!name.starts_with("blk.")) return -1;
  int layer = -1;
  std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

bool is_matrix(const QuantizeInput& t) {
  const bool router = t.name.find("ffn_gate_inp") != std::string::npos;
  return t.shape.size() >= 2 && t.name.ends_with(".weight") && !router;
}

bool is_sensitive(std::string_view name) {
  return name.find("attn_v.") != std::string_view::npos ||
         name.find("attn_qkv.") != std::string_view::npos ||
         name.find("ffn_down") != std::string_view::npos;
}

bool gets_more_bits(int layer, int layers) {
  const int first = layers / 8;
  return layer < first || layer >= 7 * layers / 8 || (layer - first) % 3 == 2;
}

DType wanted(const QuantizeTarget& target, const QuantizeInput& t, bool yields_logits, int layers) {
  const bool small = target.dtype == DType::kQ4_0 || target.dtype == DType::kQ4_K;
  if (small && yields_logits) return DType::kQ6_K;
  const int layer = layer_of(t.name);
  if (target.dtype == DType::kQ4_K && layer >= 0 && is_sensitive(t.name) &&
      gets_more_bits(layer, layers)) {
    return DType::kQ6_K;
  }
  return target.dtype;
}

// What is stored where rows do not divide into the blocks of `dtype`.
DType next_fitting(DType dtype, int64_t width) {
  if (width % tensor::dtype_info(dtype).block_elements == 0) return dtype;
  if (dtype == DType::kQ6_K) return next_fitting(DType::kQ8_0, width);
  if (dtype == DType::kQ4_K) return next_fitting(DType::kQ5_0, width);
  return DType::kF16;
}

}  // namespace

Result<QuantizeTarget> parse_quantize_target(std::string_view text) {
  std::string name = upper(text);
  if (name == "Q4_K_M") name = "Q4_K";
  std::string known;
  for (const QuantizeTarget& target : kTargets) {
    if (target.name == name) return target;
    fmt::format_to(std::back_inserter(known), "{}{}", known.empty() ? "" : ", ", target.name);
  }
  return invalid(fmt::format("TYPE is expected to be one of {}; found \"{}\"", known, text));
}

std::vector<QuantizeChoice> plan_quantization(const QuantizeTarget& target,
                                              std::span<const QuantizeInput> tensors, int layers) {
  const bool own_output =
      std::ranges::find(tensors, "output.weight", &QuantizeInput::name) != tensors.end();
  const std::string_view logits = own_output ? "output.weight" : "token_embd.weight";
  std::vector<QuantizeChoice> out;
  for (const QuantizeInput& t : tensors) {
    if (!is_matrix(t)) {
      out.push_back({.dtype = t.dtype});
      continue;
    }
    const DType first = wanted(target, t, t.name == logits, layers);
    const DType chosen = next_fitting(first, t.shape.back());
    out.push_back({.dtype = chosen, .fallback = chosen != first});
  }
  return out;
}

}  // namespace sluice::cli
