// --speculative-config: vLLM's JSON for speculative decoding.
#pragma once

#include <string_view>

#include "base/status.h"
#include "engine/speculation.h"

namespace sluice::cli {

// {"method": "ngram", "num_speculative_tokens": 8, "prompt_lookup_min": 2, "prompt_lookup_max": 5,
//  "disable_by_batch_size": 32}, where every key but the method may be left out; "none" is off.
// Keys that are not understood are refused, as an option without effect would be.
Result<engine::SpeculationOptions> parse_speculative_config(std::string_view text);

}  // namespace sluice::cli
