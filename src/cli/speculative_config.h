// --speculative-config: vLLM's JSON for speculative decoding.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "engine/speculation.h"

namespace sluice::cli {

struct SpeculativeConfig {
  engine::SpeculationOptions options{};  // off
  std::string draft_model;               // as given, with DraftMethod::kModel
};

// {"method": "ngram", "num_speculative_tokens": 8, "prompt_lookup_min": 2, "prompt_lookup_max": 5,
//  "disable_by_batch_size": 32} or {"method": "draft_model", "model": "small.gguf",
//  "num_speculative_tokens": 8, "disable_by_batch_size": 32}, where every key but method and model
// may be left out; "none" is off. Keys that are not understood or that the method does not know are
// refused, as an option without effect would be.
Result<SpeculativeConfig> parse_speculative_config(std::string_view text);

}  // namespace sluice::cli
