// Scheduler: which sequences compute how many rows in the next step, under a budget of rows.
// It holds no tensors: sequences, blocks and arithmetic on both.
//
// Order of a step:
//   1. Decode rows of all running sequences, so that no stream stalls behind a prompt, and then
//      the draft rows that speculation.h finds worth it. Drafts preempt nobody.
//   2. Prompt chunks with what is left of the budget, at most what step_budget.h allows beside
//      those streams, of running and newly admitted sequences:
//      the most urgent priority first (lower is more urgent), within it the tenant whose fair share
//      is furthest behind, within a tenant first come, first served.
// Admission is in that order without exception: a request that does not fit yet is not passed by
// those behind it. One exception: a request whose prefix a running one is computing right now waits
// for it without holding up others.
//
// Preemption is by recomputation: when blocks run out, the least urgent, latest running sequence
// gives up its blocks and waits again; its tokens are kept. A waiting sequence may also preempt
// running ones of a strictly less urgent priority.
//
// No starvation: the oldest live sequence (the elder) is never preempted while another one runs,
// and in every kElderPeriod-th step it is served before all others, whatever its priority and
// tenant, preempting if it must. So a sequence finishes at most
//   kElderPeriod * (rows to compute + 1) + output tokens
// steps after it became the elder, and every accepted one becomes the elder.
//
// Engine thread only. A sequence is addressed by pointer, valid from add() to remove().
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/limits.h"
#include "engine/fair_share.h"
#include "engine/kv_cache.h"
#include "engine/sequence.h"
#include "engine/speculation.h"
#include "engine/step_budget.h"

namespace sluice::engine {

inline constexpr uint64_t kElderPeriod = 16;

struct SchedulerOptions {
  int max_sequences = 1;  // running at a time; at most max_batched_tokens are used
  int max_batched_tokens = 1;
  int block_size = limits::kBlockSize;
  int32_t kv_blocks = 1;
  PrefixCaching prefix_caching = PrefixCaching::kOn;
  // Rows whose logits are wanted for prompt logprobs, in one step: a row of logits is as wide as
  // the vocabulary.
  int max_prompt_logit_rows = 1 << 20;
  double max_step_stretch = 0.0;  // see StepBudget
  SpeculationOptions speculation{};
};

// `rows` of the sequence's known tokens, and behind them `drafts` of its draft.
struct PlanEntry {
  Sequence* sequence = nullptr;
  int rows = 0;
  int drafts = 0;
};

struct Plan {
  std::vector<PlanEntry> entries;
  int preemptions = 0;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // The sequence must fit: at most kv_blocks * block_size tokens and max_size positions in all.
  Sequence& add(Sequence sequence);
  // Nullptr for an unknown id.
  Sequence* find(RequestId id);
  // Takes the sequence out, wherever it stands; its blocks return to the pool.
  void remove(Sequence& sequence);

  // Plans a step and gives its sequences their blocks. With at least one live sequence the plan
  // has at least one row. `now` becomes the `scheduled` time of those admitted.
  const Plan& schedule(TimePoint now);
  // After the pass over the latest plan: its rows count as computed, full blocks can be found.
  // Draft rows do not count yet, and their blocks stay until settle().
  void commit();
  // How many of the draft rows of an entry of the latest plan turned out right; the sequence has
  // its new tokens. Once for each entry with drafts whose sequence goes on.
  void settle(Sequence& sequence, int accepted);
  // The time of the latest plan's step, from which later plans' sizes follow.
  void learn(Duration time) { step_budget_.learn(shape_, time); }

  const StepCost& cost() const { return step_budget_.cost(); }

  const std::vector<Sequence*>& waiting() const { return waiting_; }
  const std::vector<Sequence*>& running() const { return running_; }
  const BlockPool& pool() const { return cache_.pool(); }
  // BlockPool's.
  void keep_block_changes() { cache_.keep_changes(); }
  std::vector<PrefixChange> take_block_changes() { return cache_.take_changes(); }
  uint64_t prefix_queries() const { return prefix_queries_; }
  uint64_t prefix_hits() const { return prefix_hits_; }

  // The oldest sequence as of the latest schedule(); nullptr once it was removed.
  const Sequence* elder() const { return elder_; }
  // Aborts unless sequences, shares and blocks agree. Between steps only.
  void check_integrity() const;

 private:
  enum class Victims { kNone, kLessUrgent, kAny };
  enum class Admission { kAdmitted, kHeld, kFull };

  void find_elder();
  bool runs_before(const Sequence& a, const Sequence& b) const;
  bool is_served_before(const Sequence& a, const Sequence& b) const;

  void measure_load();
  void serve_elder(TimePoint now);
  void schedule_decodes();
  void schedule_drafts();
  void schedule_prompts(TimePoint now);
  Sequence* next_for_prompt(bool admission_open);
  Admission admit(Sequence& sequence, Victims victims, TimePoint now);
  bool make_room(Sequence& sequence, Victims victims);
  bool fits(const Sequence& sequence) const;
  int64_t missing_blocks(const Sequence& sequence) const;
  int64_t wanted_blocks(const Sequence& sequence, Victims victims) const;
  bool is_victim_for(const Sequence& running, const Sequence& sequence, Victims victims) const;
  bool enough_victims(const Sequence& sequence, Victims victims) const;
  bool plan_rows(Sequence& sequence, int limit);
  void preempt(Sequence& sequence);

  const SchedulerOptions options_;
  const int max_sequences_;
  KvCache cache_;
  FairShare fair_share_;
  StepBudget step_budget_;
  DraftPlanner draft_planner_;
  std::unordered_map<RequestId, std::unique_ptr<Sequence>> sequences_;
  std::vector<Sequence*> waiting_;
  std::vector<Sequence*> running_;  // sorted by runs_before during schedule()
  std::vector<Sequence*> streams_;  // of running_, in the step being planned
  Plan plan_;
  StepShape shape_;        // of the latest plan
  int budget_ = 0;         // rows left in the step
  int prompt_budget_ = 0;  // of these for prompts
  int logit_budget_ = 0;   // prompt rows with logits left in the step
  bool full_ = false;      // the latest step found no room for the next to be admitted
  Sequence* elder_ = nullptr;
  uint64_t step_ = 0;
  uint64_t next_arrival_ = 0;
  uint64_t prefix_queries_ = 0;
  uint64_t prefix_hits_ = 0;
};

}  // namespace sluice::engine
