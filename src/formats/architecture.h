// The architectures that are read, and what their files have in common or not.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "formats/model_config.h"

namespace sluice::formats {

enum class Bias { kNone, kOptional, kRequired };
enum class Experts { kNone, kOptional, kRequired };

struct Architecture {
  std::string_view name;  // canonical, and GGUF's general.architecture
  std::span<const std::string_view> hf_classes;
  RopeStyle gguf_rope = RopeStyle::kHalves;
  Bias qkv_bias = Bias::kNone;
  bool qk_norm = false;
  // gemma: sqrt(width) embedding scale, norms after attention and feed-forward, GELU; a Hugging
  // Face folder stores norm weights less 1.
  bool gemma = false;
  bool fused = false;  // phi3: q, k, v in one matrix, gate and up in one
  Experts experts = Experts::kNone;
  bool normalize_top_k = true;
  bool shared_expert = false;
};

std::span<const Architecture> architectures();

// nullptr = unknown. By general.architecture, and by config.json's "architectures".
const Architecture* find_architecture(std::string_view name);
const Architecture* find_hf_class(std::string_view class_name);

// Refusal of an architecture by name, with the list of those known.
std::unexpected<Status> unknown_architecture(std::string_view name);

}  // namespace sluice::formats
