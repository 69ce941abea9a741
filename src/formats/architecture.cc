#include "formats/architecture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

#include "formats/printable.h"

namespace sluice::formats {
namespace {

constexpr std::string_view kLlama[] = {"LlamaForCausalLM", "MistralForCausalLM",
                                       "MixtralForCausalLM"};
constexpr std::string_view kQwen2[] = {"Qwen2ForCausalLM"};
constexpr std::string_view kQwen3[] = {"Qwen3ForCausalLM"};
constexpr std::string_view kGemma2[] = {"Gemma2ForCausalLM"};
constexpr std::string_view kGemma3[] = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"};
constexpr std::string_view kPhi3[] = {"Phi3ForCausalLM"};
constexpr std::string_view kQwen2Moe[] = {"Qwen2MoeForCausalLM"};
constexpr std::string_view kQwen3Moe[] = {"Qwen3MoeForCausalLM"};

constexpr std::array<Architecture, 8> kArchitectures = {{
    {.name = "llama",
     .hf_classes = kLlama,
     .gguf_rope = RopeStyle::kNeighbours,
     .qkv_bias = Bias::kOptional,
     .experts = Experts::kOptional},
    {.name = "qwen2", .hf_classes = kQwen2, .qkv_bias = Bias::kRequired},
    {.name = "qwen3", .hf_classes = kQwen3, .qk_norm = true},
    {.name = "gemma2", .hf_classes = kGemma2, .gemma = true},
    {.name = "gemma3", .hf_classes = kGemma3, .qk_norm = true, .gemma = true},
    {.name = "phi3", .hf_classes = kPhi3, .fused = true},
    {.name = "qwen2moe",
     .hf_classes = kQwen2Moe,
     .qkv_bias = Bias::kRequired,
     .experts = Experts::kRequired,
     .normalize_top_k = false,
     .shared_expert = true},
    {.name = "qwen3moe", .hf_classes = kQwen3Moe, .qk_norm = true, .experts = Experts::kRequired},
}};

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

const Architecture* find_architecture(std::string_view name) {
  const auto* it = std::ranges::find(kArchitectures, name, &Architecture::name);
  return it == kArchitectures.end() ? nullptr : it;
}

const Architecture* find_hf_class(std::string_view class_name) {
  for (const Architecture& a : kArchitectures) {
    if (std::ranges::count(a.hf_classes, class_name) != 0) return &a;
  }
  return nullptr;
}

std::unexpected<Status> unknown_architecture(std::string_view name) {
  std::vector<std::string_view> known;
  for (const Architecture& a : kArchitectures) known.push_back(a.name);
  return fail(Code::kUnimplemented,
              fmt::format("the architecture \"{}\" is not supported; supported are {} (llama "
                          "includes Mistral and Mixtral)",
                          printable(name), fmt::join(known, ", ")));
}

}  // namespace sluice::formats
