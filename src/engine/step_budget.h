// StepBudget: how many prompt rows a step may take beside the rows of running streams.
//
// A stream's time between two tokens is the time of a step. A prompt that is computed meanwhile may
// stretch the step to `max_stretch` times what it would take without, as StepCost predicts it. When
// one prompt waits, that is all it gets: it takes longer, the streams hardly notice. When several
// wait, prompts and not streams are the work that is left over, and the stretch grows step by step
// until the queue is short, and falls slowly again: under a steady load steps are even, because a
// step's size follows the load and not the arrivals. At the least, the prompts that wait behind the
// first one and the streams get time in proportion to their numbers. At most, prompts get a little
// more than keeps all who are there streaming, if each is followed by one of its kind: with more
// they would come in waves, steps long while many wait and short when none does. And a step then
// takes the time that it will when those who wait stream too, so that it is as long while a burst
// is worked off as afterwards. In any case prompts may get as much time as the streams take, and
// never more than two and a half times that. Without streams there is nothing to protect and a step
// takes what fits.
//
// Never below kLeastPromptRows, so prompts go on whatever the model says; but for single steps that
// streams have to themselves where it is not known what about so many take. What it answers follows
// from what it was told: under a simulated clock it is reproducible. It sizes chunks only, and
// chunks never change tokens. One owner, one thread.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "engine/request_mix.h"
#include "engine/step_cost.h"

namespace sluice::engine {

inline constexpr int kLeastPromptRows = 4;

// What wants to be computed in a step.
struct StepLoad {
  int streams = 0;             // sequences that wait for their next token
  StepShape stream_rows;       // of these, with what they speculate on
  int prompts = 0;             // sequences that wait for their first one and have a place
  int64_t prompt_context = 0;  // positions that the next prompt row attends to
};

class StepBudget {
 public:
  // Below 1, `max_stretch` means no bound on a step but max_rows.
  StepBudget(double max_stretch, int max_rows);

  // The time of a step that ran.
  void learn(const StepShape& step, Duration time) { cost_.learn(step, time); }
  const StepCost& cost() const { return cost_; }
  // What requests bring and take.
  RequestMix& mix() { return mix_; }

  // Prompt rows for the next step; to be asked once a step. Without prompts: those for one that a
  // place is found for after all.
  int prompt_rows(const StepLoad& load);

 private:
  double greatest_share(const StepLoad& load, StepShape all) const;
  void follow(const StepLoad& load, double greatest);

  const double least_share_;  // of a step's time, over the streams' part
  const int max_rows_;
  double share_;            // what prompts get now
  bool gave_none_ = false;  // in the last step, to learn what streams take
  StepCost cost_;
  RequestMix mix_;
};

}  // namespace sluice::engine
