// Whether a look at a candidate is good. Pure; any thread.
#pragma once

#include <string>

#include "platform/rollout.h"

namespace sluice::platform {

// What is wrong with the candidate's figures, or nothing. Ratios are only looked at where the
// stable revision had min_requests too.
std::string judge(const RolloutAnalysis& analysis, const RolloutFigures& candidate,
                  const RolloutFigures& stable);

}  // namespace sluice::platform
