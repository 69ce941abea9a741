// Speculative decoding: guessed tokens are computed along with the next one, and kept as far as
// they are the tokens that sampling chooses. They come from the text, where it repeats itself (what
// followed last time), or from a second model (drafter.h). So a step can yield several tokens, and
// exactly those that single steps would have: each position is sampled from its own logits with its
// own random number (sampler.h), and a row's logits do not depend on how many rows ran with it.
//
// From the text a draft is looked up whenever a sequence has none. Any draft is checked against
// every token that follows, whether or not its rows were computed: how often drafts are right is
// known at no cost, and rows are spent only where the step's cost model says that they pay.
//
// The idea is prompt lookup decoding (A. Saxena, 2023). Engine thread only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sequence.h"
#include "engine/step_cost.h"

namespace sluice::engine {

enum class DraftMethod { kNgram, kModel };

struct SpeculationOptions {
  DraftMethod method = DraftMethod::kNgram;
  int max_draft = 0;     // tokens ahead, of a sequence; 0 = off
  int lookup_min = 2;    // tokens that a match has at least …
  int lookup_max = 5;    // … and that are looked at
  int max_streams = 32;  // with more sequences decoding at once there is no speculation
};

// The `count` tokens that followed the latest of the longest matches of the tokens' end, of at
// least `lookup_min`; it runs on into itself where the match lies near the end. Empty without a
// match.
std::vector<int32_t> look_up_draft(std::span<const int32_t> tokens,
                                   const SpeculationOptions& options, int count);

// Holds the sequence's draft against the token that came, which is not appended yet.
void check_draft(Sequence& sequence, int32_t token);

// How many draft rows each of the sequences gets: as many as raise the tokens expected per second,
// and none where that is not worth it.
class DraftPlanner {
 public:
  explicit DraftPlanner(const SpeculationOptions& options) : options_(options) {}

  bool enabled() const { return options_.max_draft > 0; }

  // Sets `draft` and `draft_rows` of each sequence, at most `most` rows in all, for a step that has
  // `base` without them. Every one of the sequences computes one row and samples from it.
  void plan(std::span<Sequence* const> streams, const StepShape& base, const StepCost& cost,
            int most);

 private:
  struct Row {
    double gain = 0.0;  // the probability that it yields a token
    Sequence* sequence = nullptr;
    int depth = 0;
  };

  void find_draft(Sequence& sequence) const;

  const SpeculationOptions options_;
  std::vector<Row> rows_;  // scratch
};

}  // namespace sluice::engine
