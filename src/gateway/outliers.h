// Finds replicas that do worse than their fellows: they fail more, or are much slower to the first
// token. A pure function on what each did within the last interval.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/clock.h"
#include "plan/plan.h"

namespace sluice::gateway {

struct ReplicaSample {
  int requests = 0;
  int failures = 0;
  Duration mean_first_token{};  // of those answered; 0: unknown
  bool ejected = false;         // already
};

// Indices to eject now, the worst first. Never more than max_ejected_percent of all are ejected
// together, and never the only one.
std::vector<size_t> find_outliers(std::span<const ReplicaSample> samples,
                                  const plan::OutlierPlan& settings);

}  // namespace sluice::gateway
