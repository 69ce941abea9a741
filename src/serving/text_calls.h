// What of a model's answers needs its text half only: token ids of a prompt, and back.
//
// Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "completion/backend.h"

namespace sluice::serving {

class LoadedModel;

// max_model_len is the model's own.
Result<completion::TokenizeResult> tokenize_by(const LoadedModel& model,
                                               const completion::TokenizeRequest& request,
                                               const Clock& clock);
Result<std::string> detokenize_by(const LoadedModel& model, const std::vector<int32_t>& tokens);

}  // namespace sluice::serving
