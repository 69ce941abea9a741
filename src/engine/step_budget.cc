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
// It also keeps a burst from driving the share to where it takes long to come back from.
constexpr double kGreatestShare = 2.5;
// A queue is worked off with half of the time, whatever the mix of requests is.
constexpr double kLeastGreatestShare = 1.0;
// Of what keeps everyone streaming. With no more than that no queue would get shorter.
constexpr double kSurplus = 1.15;
// A chunk whose rows cost what prompt rows do.
constexpr int kUsualChunk = 256;

// All who are there, as if everyone streamed.
StepShape all_streaming(const StepLoad& load) {
  const double times = double(load.streams + load.prompts) / load.streams;
  return {.rows = static_cast<int>(load.stream_rows.rows * times),
          .context = static_cast<int64_t>(double(load.stream_rows.context) * times)};
}

}  // namespace

StepBudget::StepBudget(double max_stretch, int max_rows)
    : least_share_(max_stretch - 1.0), max_rows_(max_rows), share_(least_share_) {}

// The share with which prompts are computed as fast as streams end, if all who are there stream.
double StepBudget::greatest_share(const StepLoad& load, StepShape all) const {
  const double rows_per_token = mix_.prompt_rows_per_token();
  if (rows_per_token <= 0.0) return kGreatestShare;
  const int chunk = std::min(kUsualChunk, max_rows_);
  const double alone = cost_.predict(all);
  const double row = (cost_.predict(all.plus(chunk, load.prompt_context)) - alone) / chunk;
  const int tokens = load.streams + load.prompts;  // of such a step
  const double steady = rows_per_token * tokens * row / alone;
  return std::clamp(kSurplus * steady, kLeastGreatestShare, kGreatestShare);
}

void StepBudget::follow(const StepLoad& load, double greatest) {
  if (load.prompts < 2) {
    share_ = std::max(least_share_, share_ * (1.0 - kDecay));
    return;
  }
  const double growth = std::min(kGreatestGrowth, kGrowth * (load.prompts - 1));
  // From 0 nothing would grow.
  const double grown = std::min(std::max(share_, 0.05) * (1.0 + growth), greatest);
  share_ = std::max(grown, least_share_);
}

int StepBudget::prompt_rows(const StepLoad& load) {
  if (least_share_ < 0.0 || load.streams == 0 || !cost_.known()) return max_rows_;
  const StepShape all = all_streaming(load);
  const double greatest = greatest_share(load, all);
  follow(load, greatest);
  // What is not known would be guessed from much larger steps, far too low, or from one of the
  // server's first; and a step with the fewest prompt rows teaches nothing about one without. One
  // such step does.
  gave_none_ = !gave_none_ && !cost_.known_at(load.stream_rows.rows);
  if (gave_none_) return 0;
  const int behind = std::max(load.prompts - 1, 0);
  const double fair = std::min(double(behind) / load.streams, greatest);
  const double share = std::max(share_, fair);
  const double streams_alone = cost_.predict(load.stream_rows);
  double longest = streams_alone * (1.0 + share);
  if (behind > 0) {
    const double most = streams_alone * (1.0 + std::max(share, kGreatestShare));
    longest = std::min(cost_.predict(all) * (1.0 + share), most);
  }
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
