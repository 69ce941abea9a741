#include "engine/scheduler.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace sluice::engine {

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      // So that the decode rows of all running sequences fit into one step.
      max_sequences_(std::min(options.max_sequences, options.max_batched_tokens)),
      cache_(options.kv_blocks, options.block_size, options.prefix_caching),
      step_budget_(options.max_step_stretch, options.max_batched_tokens),
      draft_planner_(options.speculation) {}

Sequence& Scheduler::add(Sequence sequence) {
  auto owned = std::make_unique<Sequence>(std::move(sequence));
  Sequence& added = *owned;
  added.state = SequenceState::kWaiting;
  added.arrival = next_arrival_++;
  added.share = &fair_share_.join(added.priority, added.tenant);
  const bool fresh = sequences_.emplace(added.id, std::move(owned)).second;
  SLUICE_CHECK(fresh, "two live requests have one id");
  waiting_.push_back(&added);
  step_budget_.mix().began(added.size(), added.max_size - added.size());
  return added;
}

Sequence* Scheduler::find(RequestId id) {
  const auto at = sequences_.find(id);
  return at == sequences_.end() ? nullptr : at->second.get();
}

void Scheduler::remove(Sequence& sequence) {
  const int streamed = sequence.output_size() - sequence.resumed_size;
  if (streamed > 0) {
    const int known = sequence.prompt_size + sequence.resumed_size;
    step_budget_.mix().ended(known - sequence.cached_tokens, streamed);
  }
  cache_.release(sequence);
  fair_share_.leave(*sequence.share);
  std::erase(sequence.state == SequenceState::kRunning ? running_ : waiting_, &sequence);
  if (elder_ == &sequence) elder_ = nullptr;
  sequences_.erase(RequestId(sequence.id));
}

// The order in which running sequences keep their blocks: the last is preempted first.
bool Scheduler::runs_before(const Sequence& a, const Sequence& b) const {
  return std::tuple(&a != elder_, a.priority, a.arrival) <
         std::tuple(&b != elder_, b.priority, b.arrival);
}

bool Scheduler::is_served_before(const Sequence& a, const Sequence& b) const {
  return std::tuple(a.priority, a.share->clock, a.arrival) <
         std::tuple(b.priority, b.share->clock, b.arrival);
}

void Scheduler::find_elder() {
  elder_ = nullptr;
  for (const auto* group : {&waiting_, &running_}) {
    for (Sequence* sequence : *group) {
      if (elder_ == nullptr || sequence->arrival < elder_->arrival) elder_ = sequence;
    }
  }
}

const Plan& Scheduler::schedule(TimePoint now) {
  ++step_;
  plan_.entries.clear();
  plan_.preemptions = 0;
  budget_ = options_.max_batched_tokens;
  logit_budget_ = options_.max_prompt_logit_rows;
  find_elder();
  if (elder_ == nullptr) return plan_;
  std::ranges::sort(running_, [&](auto* a, auto* b) { return runs_before(*a, *b); });
  measure_load();
  if (step_ % kElderPeriod == 0) serve_elder(now);
  schedule_decodes();
  schedule_drafts();
  schedule_prompts(now);
  SLUICE_CHECK(!plan_.entries.empty(), "live sequences, but none could be scheduled");
  return plan_;
}

// Finds out what wants to run, and from that how many rows drafts and prompts get.
void Scheduler::measure_load() {
  streams_.clear();
  StepLoad load;
  // Those that could not be admitted now are no reason to hurry.
  const int places = full_ ? 0 : max_sequences_ - static_cast<int>(running_.size());
  load.prompts = std::min(static_cast<int>(waiting_.size()), places);
  for (Sequence* sequence : running_) {
    if (sequence->streams()) {
      streams_.push_back(sequence);
      load.stream_rows = load.stream_rows.plus(1, sequence->size());
    } else {
      ++load.prompts;
      load.prompt_context = std::max<int64_t>(load.prompt_context, sequence->computed);
    }
  }
  load.streams = static_cast<int>(streams_.size());
  // A place may get free in this very step.
  const bool may_compute_prompts = load.prompts > 0 || !waiting_.empty();
  const int kept_for_prompts = may_compute_prompts ? kLeastPromptRows : 0;
  draft_planner_.plan(streams_, load.stream_rows, step_budget_.cost(),
                      budget_ - load.streams - kept_for_prompts);
  for (const Sequence* sequence : streams_) {
    load.stream_rows = load.stream_rows.plus(sequence->draft_rows, sequence->size());
  }
  prompt_budget_ = step_budget_.prompt_rows(load);
}

void Scheduler::serve_elder(TimePoint now) {
  if (elder_->state == SequenceState::kWaiting &&
      admit(*elder_, Victims::kAny, now) != Admission::kAdmitted) {
    return;
  }
  // The others' decode rows come first in every step; their number is below the budget here.
  int others = 0;
  for (const Sequence* sequence : running_) {
    others += sequence != elder_ && sequence->remaining() == 1 ? 1 : 0;
  }
  plan_rows(*elder_, std::max(1, std::min(budget_ - others, prompt_budget_)));
}

void Scheduler::schedule_decodes() {
  // plan_rows() preempts at the end of running_ only, behind the sequence it works for, or that
  // sequence itself when it is the last.
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.remaining() == 1 && sequence.planned_rows == 0) plan_rows(sequence, budget_);
  }
}

// Draft rows take blocks that nobody wants: none while anyone waits to be admitted, and none that
// those running have still to fill. Of blocks that carry a prefix they take only what the sequence
// would need within a few tokens, its next one; refused, it comes back empty and is the first to be
// taken.
void Scheduler::schedule_drafts() {
  const int block_size = cache_.block_size();
  const BlockPool& pool = cache_.pool();
  int64_t spare = waiting_.empty() ? pool.free_count() : 0;
  for (const Sequence* running : running_) spare -= missing_blocks(*running);
  for (PlanEntry& entry : plan_.entries) {
    Sequence& sequence = *entry.sequence;
    if (sequence.draft_rows == 0 || !sequence.streams()) continue;
    const int64_t held = std::ssize(sequence.blocks);
    const int64_t empty = pool.free_count() - pool.cached_count();
    const int64_t more = std::max<int64_t>(0, std::min(spare, std::max<int64_t>(empty, 1)));
    const int known = sequence.computed + entry.rows;
    entry.drafts = static_cast<int>(
        std::min<int64_t>({sequence.draft_rows, budget_, (held + more) * block_size - known}));
    cache_.grow(sequence, known + entry.drafts);
    spare -= std::ssize(sequence.blocks) - held;
    sequence.planned_rows += entry.drafts;
    sequence.share->clock += entry.drafts;
    budget_ -= entry.drafts;
  }
}

void Scheduler::schedule_prompts(TimePoint now) {
  // A step that had to preempt has no room for anyone new.
  bool admission_open = plan_.preemptions == 0;
  full_ = !admission_open;
  while (budget_ > 0 && prompt_budget_ > 0) {
    Sequence* next = next_for_prompt(admission_open);
    if (next == nullptr) return;
    if (next->state == SequenceState::kWaiting) {
      const Admission result = admit(*next, Victims::kLessUrgent, now);
      if (result == Admission::kFull) {
        admission_open = false;
        full_ = true;
      }
      if (result == Admission::kHeld) next->passed_over = step_;
      if (result != Admission::kAdmitted) continue;
    }
    if (!plan_rows(*next, prompt_budget_)) next->passed_over = step_;
  }
}

Sequence* Scheduler::next_for_prompt(bool admission_open) {
  Sequence* best = nullptr;
  const auto consider = [&](Sequence* sequence) {
    if (sequence->planned_rows > 0 || sequence->passed_over == step_) return;
    if (best == nullptr || is_served_before(*sequence, *best)) best = sequence;
  };
  for (Sequence* sequence : running_) consider(sequence);
  if (admission_open) {
    for (Sequence* sequence : waiting_) consider(sequence);
  }
  return best;
}

Scheduler::Admission Scheduler::admit(Sequence& sequence, Victims victims, TimePoint now) {
  // Serving the elder must not depend on how another one gets on.
  if (victims != Victims::kAny && cache_.should_wait(sequence)) return Admission::kHeld;
  // Holding the prefix first keeps it from being evicted while room is made.
  const int cached = cache_.adopt_prefix(sequence);
  if (!make_room(sequence, victims)) {
    cache_.release(sequence);
    return Admission::kFull;
  }
  if (!sequence.admitted_before && cache_.reads_prefix(sequence)) {
    sequence.cached_tokens = cached;
    prefix_queries_ += static_cast<uint64_t>(sequence.prompt_size);
    prefix_hits_ += static_cast<uint64_t>(cached);
  }
  sequence.admitted_before = true;
  sequence.held_until.reset();
  sequence.scheduled = now;
  sequence.state = SequenceState::kRunning;
  std::erase(waiting_, &sequence);
  const auto at = std::ranges::upper_bound(running_, &sequence,
                                           [&](auto* a, auto* b) { return runs_before(*a, *b); });
  running_.insert(at, &sequence);
  cache_.announce(sequence);
  return Admission::kAdmitted;
}

bool Scheduler::make_room(Sequence& sequence, Victims victims) {
  if (fits(sequence)) return true;
  if (victims == Victims::kLessUrgent && !enough_victims(sequence, victims)) return false;
  while (!running_.empty() && is_victim_for(*running_.back(), sequence, victims)) {
    preempt(*running_.back());
    if (fits(sequence)) return true;
  }
  return false;
}

int64_t Scheduler::missing_blocks(const Sequence& sequence) const {
  const int64_t missing =
      int64_t{cache_.blocks_for(sequence.size())} - static_cast<int64_t>(sequence.blocks.size());
  return std::max<int64_t>(missing, 0);
}

bool Scheduler::fits(const Sequence& sequence) const {
  if (static_cast<int>(running_.size()) >= max_sequences_) return false;
  return cache_.pool().free_count() >= wanted_blocks(sequence, Victims::kNone);
}

// What must be free to admit `sequence` beside those running that are no victims: room for all
// that it has to compute, for what they have still to compute, and a next block for each of them;
// admitting more would only end in preemption. The elder is not kept out for others' later growth.
int64_t Scheduler::wanted_blocks(const Sequence& sequence, Victims victims) const {
  int64_t wanted = missing_blocks(sequence);
  if (&sequence == elder_) return wanted;
  for (const Sequence* running : running_) {
    if (!is_victim_for(*running, sequence, victims)) wanted += missing_blocks(*running) + 1;
  }
  return wanted;
}

bool Scheduler::is_victim_for(const Sequence& running, const Sequence& sequence,
                              Victims victims) const {
  return &running != elder_ && victims != Victims::kNone &&
         (victims == Victims::kAny || running.priority > sequence.priority);
}

bool Scheduler::enough_victims(const Sequence& sequence, Victims victims) const {
  int count = 0;
  int64_t blocks = cache_.pool().free_count();
  for (const Sequence* running : running_) {
    if (!is_victim_for(*running, sequence, victims)) continue;
    ++count;
    for (const int32_t block : running->blocks) {
      blocks += cache_.pool().references(block) == 1 ? 1 : 0;
    }
  }
  return count > 0 && static_cast<int>(running_.size()) - count < max_sequences_ &&
         blocks >= wanted_blocks(sequence, victims);
}

// Plans up to `limit` rows of a running sequence, as many as budgets and blocks allow; makes room
// for at least one by preempting those that come after it. False when it gets none.
bool Scheduler::plan_rows(Sequence& sequence, int limit) {
  int rows = std::min({sequence.remaining(), limit, budget_});
  const bool wants_logits = sequence.owes_prompt_logprobs();
  if (wants_logits) rows = std::min(rows, logit_budget_);
  if (rows <= 0) return false;
  const int block_size = cache_.block_size();
  const auto reachable = [&] {
    return (static_cast<int64_t>(sequence.blocks.size()) + cache_.pool().free_count()) * block_size;
  };
  while (reachable() <= sequence.computed) {
    Sequence& victim = *running_.back();
    preempt(victim);
    if (&victim == &sequence) return false;
  }
  rows = static_cast<int>(std::min<int64_t>(rows, reachable() - sequence.computed));
  cache_.grow(sequence, sequence.computed + rows);
  plan_.entries.push_back({&sequence, rows});
  sequence.planned_rows = rows;
  sequence.share->clock += rows;
  budget_ -= rows;
  if (!sequence.streams()) prompt_budget_ -= rows;
  if (wants_logits) logit_budget_ -= rows;
  return true;
}

void Scheduler::preempt(Sequence& sequence) {
  if (sequence.planned_rows > 0) {
    std::erase_if(plan_.entries, [&](const PlanEntry& e) { return e.sequence == &sequence; });
    budget_ += sequence.planned_rows;
    sequence.share->clock -= sequence.planned_rows;
    sequence.planned_rows = 0;
  }
  sequence.draft_rows = 0;
  cache_.release(sequence);
  sequence.state = SequenceState::kWaiting;
  sequence.passed_over = step_;
  std::erase(running_, &sequence);
  waiting_.push_back(&sequence);
  ++plan_.preemptions;
}

void Scheduler::commit() {
  shape_ = {};
  for (const PlanEntry& entry : plan_.entries) {
    Sequence& sequence = *entry.sequence;
    const int rows = entry.rows + entry.drafts;
    shape_ = shape_.plus(rows, sequence.computed + rows / 2);
    sequence.computed += entry.rows;
    sequence.planned_rows = 0;
    sequence.draft_rows = 0;
    cache_.publish(sequence);
  }
}

void Scheduler::settle(Sequence& sequence, int accepted) {
  sequence.computed += accepted;
  cache_.publish(sequence);
  cache_.shrink(sequence);
}

void Scheduler::check_integrity() const {
  SLUICE_CHECK(waiting_.size() + running_.size() == sequences_.size(), "a sequence was lost");
  SLUICE_CHECK(static_cast<int>(running_.size()) <= max_sequences_, "too many sequences run");
  for (const Sequence* sequence : waiting_) {
    SLUICE_CHECK(sequence->state == SequenceState::kWaiting, "a waiting sequence says it runs");
    SLUICE_CHECK(sequence->blocks.empty() && sequence->computed == 0,
                 "a waiting sequence holds blocks");
  }
  for (const Sequence* sequence : running_) {
    SLUICE_CHECK(sequence->state == SequenceState::kRunning, "a running sequence says it waits");
    SLUICE_CHECK(sequence->computed <= sequence->size(), "more is computed than known");
    SLUICE_CHECK(sequence->planned_rows == 0, "a plan was not committed");
  }
  for (const auto& [id, sequence] : sequences_) {
    SLUICE_CHECK(sequence->id == id && sequence->share->sequences > 0,
                 "a sequence has no share of its tenant");
  }
  const std::vector<const Sequence*> holders(running_.begin(), running_.end());
  cache_.check_integrity(holders);
}

}  // namespace sluice::engine
