#include "engine/step_budget.h"

#include <algorithm>

namespace sluice::engine {
namespace {

// Per step and prompt that waits behind the first one. Slow enough that a passing peak does not
// make steps uneven, quick enough to follow a load that changes within seconds.
constexpr double kGrowth = 0.02;
constexpr double kGreatestGrowth = 0.05;
constexpr double kDecay = 0.02;
// Prompts then have five sevenths of the time: more would gain them little and cost streams a lot.
// Clients that ask again as soon as they are answered push the share to this bound, and steps that
// all have the same bound are even. It also keeps a burst from driving the share to where it takes
// long to come back from.
constexpr double kGreatestShare = 2.5;

}  // namespace

StepBudget::StepBudget(double max_stretch, int max_rows)
    : least_share_(max_stretch - 1.0), max_rows_(max_rows), share_(least_share_) {}

void StepBudget::follow(const StepLoad& load) {
  if (load.streams == 0) return;
  if (load.prompts < 2) {
    share_ = std::max(least_share_, share_ * (1.0 - kDecay));
    return;
  }
  const double growth = std::min(kGreatestGrowth, kGrowth * (load.prompts - 1));
  // From 0 nothing would grow.
  const double grown = std::min(std::max(share_, 0.05) * (1.0 + growth), kGreatestShare);
  share_ = std::max(grown, least_share_);
}

int StepBudget::prompt_rows(const StepLoad& load) {
  if (least_share_ < 0.0) return max_rows_;
  follow(load);
  if (load.streams == 0 || !cost_.known()) return max_rows_;
  // What is not known would be guessed from much larger steps, far too low, or from one of the
  // server's first; and a step with the fewest prompt rows teaches nothing about one without. One
  // such step does.
  gave_none_ = !gave_none_ && !cost_.known_at(load.stream_rows.rows);
  if (gave_none_) return 0;
  const int behind = std::max(load.prompts - 1, 0);
  const double fair = std::min(double(behind) / load.streams, kGreatestShare);
  const double share = std::max(share_, fair);
  const double longest = cost_.predict(load.stream_rows) * (1.0 + share);
  int enough = std::min(kLeastPromptRows, max_rows_);
  int too_many = max_rows_ + 1;
  while (too_many - enough > 1) {
    const int middle = enough + (too_many - enough) / 2;
    const bool fits = cost_.predict(load.stream_rows.plus(middle, load.prompt_context)) <= longest;
    (fits ? enough : too_many) = middle;
  }
  return enough;
}

}  // namespace sluice::engine
