// EngineCore: the engine without its thread: step = schedule → run → sample → publish.
//
// The engine thread drives it (engine.cc), and so do the simulations, step by step. One owner, one
// thread; bounds() may be read from any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "engine/drafter.h"
#include "engine/engine.h"
#include "engine/request_check.h"
#include "engine/runner.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

namespace sluice::engine {

class EngineCore {
 public:
  // Runner and clock outlive the core.
  EngineCore(Runner& runner, EngineOptions options, const Clock& clock);
  EngineCore(const EngineCore&) = delete;
  EngineCore& operator=(const EngineCore&) = delete;

  const RequestBounds& bounds() const { return bounds_; }

  // The request has passed check_request() with bounds(), and no live one has its id.
  void add(Request request, TimePoint queued);
  // Ends the sequence, if there is one; its last output comes with the next step's.
  void cancel(RequestId id);
  void cancel_all();

  // One step; returns what the sequences got. Runs the model only if there is a live sequence.
  std::vector<StepOutput> step();

  bool idle() const { return scheduler_.waiting().empty() && scheduler_.running().empty(); }
  const EngineStats& stats() const { return stats_; }
  // Requests that wait for their first admission, and their prompts' tokens.
  size_t queued_requests() const;
  size_t queued_tokens() const;

  const Scheduler& scheduler() const { return scheduler_; }
  // nullptr without a draft model.
  const Drafter* drafter() const { return drafter_ ? &*drafter_ : nullptr; }
  void check_integrity() const { scheduler_.check_integrity(); }

 private:
  // What an entry of the plan came to. Entries are sampled by the whole team: each touches its own
  // sequence and this only.
  struct Sampled {
    size_t first_row = 0;  // of its logits
    StepOutput output;
    bool prompt_done = false;  // with this step
    int generated = 0;         // tokens chosen, an end token among them
    int accepted_drafts = 0;   // draft rows that held the right token
  };

  void expire(TimePoint now);
  void build_batch(const Plan& plan);
  void sample_all(const Plan& plan, TimePoint now);
  void sample_entry(const PlanEntry& entry, Sampler& sampler, Sampled& sampled) const;
  void sample_tokens(const PlanEntry& entry, size_t row, Sampler& sampler, Sampled& sampled) const;
  void publish(const Plan& plan, TimePoint now);
  void publish_entry(const PlanEntry& entry, Sampled& sampled, TimePoint now);
  void finish(Sequence& sequence, FinishReason reason, TimePoint now);
  void update_stats(TimePoint now);
  std::span<const float> logits_of(size_t row) const;

  Runner& runner_;
  const EngineOptions options_;
  const Clock& clock_;
  const RequestBounds bounds_;
  Scheduler scheduler_;
  std::optional<Drafter> drafter_;
  std::vector<Sampler> samplers_;  // one for each member of the team
  model::Batch batch_;
  std::vector<float> logits_;
  std::vector<Sampled> sampled_;  // by entry of the plan
  std::vector<StepOutput> outputs_;
  EngineStats stats_;
  StepInfo info_;
};

}  // namespace sluice::engine
