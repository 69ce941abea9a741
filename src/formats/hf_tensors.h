// The tensors of a Hugging Face folder as canonical ones.
#pragma once

#include <vector>

#include "base/status.h"
#include "formats/architecture.h"
#include "formats/model_parts.h"
#include "formats/safetensors.h"

namespace sluice::formats {

// Translates names, stacks experts, adds 1 to gemma's norm weights and drops an output matrix that
// the configuration says is tied. Fills parts.tensors and parts.owned by parts.config.
Outcome adopt_tensors(const Architecture& architecture, const std::vector<SafeTensor>& tensors,
                      ModelParts& parts);

}  // namespace sluice::formats
