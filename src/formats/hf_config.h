// config.json and generation_config.json of a Hugging Face folder. A member that is absent has the
// default that the transformers library's class for the architecture gives it.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "formats/architecture.h"
#include "formats/json_fields.h"
#include "formats/model_config.h"
#include "formats/model_source.h"

namespace sluice::formats {

struct HfConfig {
  const Architecture* architecture = nullptr;
  ModelConfig model;
  std::optional<int32_t> bos, pad;
  std::vector<int32_t> eos_ids;
};

// Held to check_config() too.
Result<HfConfig> parse_hf_config(std::string_view config_json);

Result<GenerationDefaults> parse_generation_config(std::string_view json_text, int vocab);

// hf_rope.cc: rope_theta, rope_scaling, rope_parameters, partial_rotary_factor; the context's
// length, which depends on them; gemma3's local theta.
void read_hf_rope(JsonFields& fields, std::string_view hf_class, ModelConfig& config);

}  // namespace sluice::formats
