// Drafter: speculation with a second, smaller model of the same vocabulary, which guesses the next
// tokens of the sequences that stream.
//
// It fills Sequence::draft before a step is planned; what becomes of a draft is speculation.h's
// affair, so tokens are the same with and without it, whatever it guesses. Where a request samples,
// the guess is sampled too, by the request's own rules and with the random number that its token
// will be drawn with: where the two models agree on the probabilities they agree on the draw.
//
// The draft model has a KV cache and blocks of its own, and no prefix cache: of a sequence it has
// not seen it computes the whole text, some rows a step, and so again after a preemption. When its
// blocks are given out, further sequences go without drafts. It runs only while the time that its
// rows take, as StepCost learns it, is less than what the tokens expected of them save: not beside
// many streams, and not for sequences whose drafts were wrong lately; these are tried again now and
// then.
//
// Owned by the EngineCore; engine thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/thread_team.h"
#include "engine/block_pool.h"
#include "engine/runner.h"
#include "engine/sampler.h"
#include "engine/sequence.h"
#include "engine/speculation.h"
#include "engine/step_cost.h"
#include "model/batch.h"

namespace sluice::engine {

class Drafter {
 public:
  // The runner, the end tokens, the team and the clock outlive the drafter; `vocab` is that of the
  // model drafted for. `team` may be null.
  Drafter(const DraftSource& source, const SpeculationOptions& options, int vocab,
          std::span<const int32_t> end_tokens, ThreadTeam* team, const Clock& clock);

  // Drafts for those of the running sequences that stream and have no draft. `cost` is that of
  // steps of the model drafted for.
  void propose(std::span<Sequence* const> running, const StepCost& cost);

  // Time that the draft model has taken in all.
  Duration spent() const { return spent_; }
  // Sequences that it keeps K and V of, and their blocks.
  size_t followed() const { return followers_.size(); }
  const BlockPool& pool() const { return pool_; }

 private:
  // What the draft model knows of a sequence.
  struct Follower {
    Sequence shadow;  // the sequence's tokens, and the guessed ones behind them
    int known = 0;    // of these tokens: the sequence's
    int computed = 0;
    std::vector<int32_t> blocks;
    uint64_t seen = 0;    // the latest round in which the sequence ran
    bool barred = false;  // a token that the draft model does not have
    bool done = false;    // for this round
  };
  struct Candidate {
    Sequence* sequence = nullptr;
    Follower* follower = nullptr;
  };
  struct Choice {
    int depth = 0;     // tokens drafted …
    size_t count = 0;  // … for so many of the candidates
  };

  Follower& follow(const Sequence& sequence);
  void forget_others();
  void find_candidates(std::span<Sequence* const> running);
  Choice choose(const StepShape& base, const StepCost& cost) const;
  bool grow(Follower& follower, int positions);
  void catch_up(double seconds);
  void draft(int depth);
  void run(StepCost& cost);
  void guess();
  int room(const Sequence& sequence) const;
  std::span<const float> logits_of(size_t row, std::vector<float>& scratch) const;

  const DraftSource source_;
  const SpeculationOptions options_;
  const int vocab_;
  const std::span<const int32_t> end_tokens_;
  ThreadTeam* const team_;
  const Clock& clock_;
  BlockPool pool_;
  StepCost cost_;                                     // of the draft model's passes that draft
  StepCost catch_up_cost_;                            // … and of those without logits
  std::unordered_map<uint64_t, Follower> followers_;  // by the sequence's arrival
  uint64_t round_ = 0;
  int cold_passes_ = 0;
  int idle_steps_ = 0;  // since the latest with drafts
  int patience_;
  double usual_trust_ = 0.5;  // of drafts for sequences lately
  Duration spent_{};
  // Scratch of a round.
  std::vector<Candidate> candidates_;  // by trust
  std::vector<Follower*> active_;      // in the pass under way; a slice of the batch each
  model::Batch batch_;
  StepShape shape_;  // of the batch
  std::vector<float> logits_;
  std::vector<Sampler> samplers_;            // one for each member of the team
  std::vector<std::vector<float>> widened_;  // where the draft model has fewer tokens
};

}  // namespace sluice::engine
