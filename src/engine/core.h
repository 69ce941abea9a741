// EngineCore: the engine without its thread: step = schedule → run → sample → publish.
//
// The engine thread drives it (engine.cc), and so do the simulations, step by step. One owner, one
// thread; bounds() may be read from any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
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
  void check_integrity() const { scheduler_.check_integrity(); }

 private:
  void expire(TimePoint now);
  void build_batch(const Plan& plan);
  void publish(const Plan& plan, TimePoint now);
  void publish_entry(const PlanEntry& entry, size_t& row, TimePoint now);
  bool score_prompt(Sequence& sequence, int end, size_t& row, StepOutput& output);
  void sample(Sequence& sequence, std::span<const float> logits, StepOutput& output);
  void accept(Sequence& sequence, TokenOutput token, StepOutput& output);
  void finish(Sequence& sequence, FinishReason reason, TimePoint now);
  void update_stats(TimePoint now);
  std::span<const float> logits_of(size_t row) const;

  Runner& runner_;
  const EngineOptions options_;
  const Clock& clock_;
  const RequestBounds bounds_;
  Scheduler scheduler_;
  Sampler sampler_;
  model::Batch batch_;
  std::vector<float> logits_;
  std::vector<StepOutput> outputs_;
  EngineStats stats_;
  StepInfo info_;
};

}  // namespace sluice::engine
