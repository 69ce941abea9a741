#include "engine/speculation.h"

#include <gtest/gtest.h>

#include <memory>

namespace sluice::engine {
namespace {

using Tokens = std::vector<int32_t>;

const SpeculationOptions kOptions{.max_draft = 4, .lookup_min = 2, .lookup_max = 4};

Tokens draft_of(const Tokens& tokens, int count = 4) {
  return look_up_draft(tokens, kOptions, count);
}

TEST(LookUpDraft, TakesWhatFollowedTheLatestMatch) {
  EXPECT_EQ(draft_of({1, 2, 3, 4, 5, 6, 9, 1, 2}), (Tokens{3, 4, 5, 6}));
  EXPECT_EQ(draft_of({1, 2, 3, 8, 1, 2, 4, 8, 1, 2}, 2), (Tokens{4, 8}));
}

TEST(LookUpDraft, ALongerMatchGoesBeforeALaterOne) {
  EXPECT_EQ(draft_of({7, 1, 2, 3, 9, 8, 1, 2, 4, 7, 1, 2}, 1), (Tokens{3}));
  // Matches longer than lookup_max count alike.
  EXPECT_EQ(draft_of({5, 6, 7, 1, 2, 3, 0, 6, 7, 1, 2, 4, 0, 5, 6, 7, 1, 2}, 1), (Tokens{4}));
}

TEST(LookUpDraft, AShortMatchIsNone) {
  EXPECT_EQ(draft_of({1, 2, 3, 4, 9, 2}), Tokens{});
  EXPECT_EQ(draft_of({1, 2, 3, 4}), Tokens{});
  EXPECT_EQ(draft_of({1}), Tokens{});
  EXPECT_EQ(draft_of({}), Tokens{});
  EXPECT_EQ(draft_of({1, 2, 3, 1, 2}, 0), Tokens{});
}

TEST(LookUpDraft, RunsOnIntoItself) {
  EXPECT_EQ(draft_of({5, 5, 5}), (Tokens{5, 5, 5, 5}));
  EXPECT_EQ(draft_of({9, 1, 2, 3, 1, 2, 3, 1}, 7), (Tokens{2, 3, 1, 2, 3, 1, 2}));
}

class Streams {
 public:
  Sequence& add(Tokens prompt, double trust, int max_tokens = 100) {
    Request request;
    request.prompt = std::move(prompt);
    request.sampling.max_tokens = max_tokens;
    auto sequence = std::make_unique<Sequence>(make_sequence(std::move(request), 1 << 20, {}));
    sequence->arrival = owned_.size();
    sequence->draft_trust = trust;
    sequence->computed = sequence->size() - 1;
    all_.push_back(sequence.get());
    owned_.push_back(std::move(sequence));
    return *owned_.back();
  }
  // Draft rows in all. The step's time is that of the given number of rows.
  int plan(double seconds_of_step, double seconds_of_row, int most = 1000,
           const SpeculationOptions& options = kOptions) {
    StepCost cost;
    for (int i = 0; i < 40; ++i) {
      for (const int rows : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}) {
        cost.learn({rows, 0}, std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
                                  seconds_of_step + rows * seconds_of_row)));
      }
    }
    DraftPlanner planner(options);
    planner.plan(all_, {static_cast<int>(all_.size()), 0}, cost, most);
    int rows = 0;
    for (const Sequence* sequence : all_) rows += sequence->draft_rows;
    return rows;
  }

 private:
  std::vector<std::unique_ptr<Sequence>> owned_;
  std::vector<Sequence*> all_;
};

const Tokens kRepeating = {1, 2, 3, 4, 5, 6, 1, 2};

TEST(DraftPlanner, TakesWhatRowsThatCostNothingGive) {
  Streams streams;
  const Sequence& sequence = streams.add(kRepeating, 0.9);
  EXPECT_EQ(streams.plan(0.01, 0.0), 4);
  EXPECT_EQ(sequence.draft, (Tokens{3, 4, 5, 6}));
  EXPECT_EQ(sequence.draft_rows, 4);
}

TEST(DraftPlanner, RowsThatCostAsMuchAsTheyGiveAreLeft) {
  Streams streams;
  streams.add(kRepeating, 0.9);
  EXPECT_EQ(streams.plan(0.0, 0.01), 0);
  EXPECT_EQ(streams.plan(0.009, 0.001), 4) << "a row costs a tenth and gives 0.9 … 0.66";
}

TEST(DraftPlanner, RowsGoToThoseThatCanBeTrusted) {
  Streams streams;
  const Sequence& sure = streams.add(kRepeating, 0.95);
  const Sequence& unsure = streams.add(kRepeating, 0.05);
  EXPECT_EQ(streams.plan(0.01, 0.001), 4);
  EXPECT_EQ(sure.draft_rows, 4);
  EXPECT_EQ(unsure.draft_rows, 0);
  EXPECT_EQ(unsure.draft.size(), 4u) << "kept, to be checked for nothing";
}

TEST(DraftPlanner, ManyStreamsLeaveLittleToGain) {
  Streams streams;
  for (int i = 0; i < 30; ++i) streams.add(kRepeating, 0.6);
  // Free up to 32 rows, then by the row: what is gained does not grow with the batch.
  EXPECT_EQ(streams.plan(0.001, 0.001), 0);
  EXPECT_EQ(streams.plan(0.01, 0.0, 1000, {.max_draft = 4, .max_streams = 29}), 0);
}

TEST(DraftPlanner, KeepsToItsBounds) {
  Streams streams;
  streams.add(kRepeating, 0.9);
  streams.add(kRepeating, 0.9, 3);
  EXPECT_EQ(streams.plan(0.01, 0.0), 4 + 2) << "the third of three tokens needs no draft";
  EXPECT_EQ(streams.plan(0.01, 0.0, 3), 3);
  EXPECT_EQ(streams.plan(0.01, 0.0, 0), 0);
  EXPECT_EQ(streams.plan(0.01, 0.0, 1000, {}), 0) << "off";
}

TEST(CheckDraft, FollowsTheTextAndLearns) {
  Streams streams;
  Sequence& sequence = streams.add(kRepeating, 0.5);
  streams.plan(0.01, 0.0);
  check_draft(sequence, 3);
  EXPECT_EQ(sequence.draft, (Tokens{4, 5, 6}));
  EXPECT_GT(sequence.draft_trust, 0.5);
  const double before = sequence.draft_trust;
  check_draft(sequence, 9);
  EXPECT_EQ(sequence.draft, Tokens{});
  EXPECT_LT(sequence.draft_trust, before);
  check_draft(sequence, 9);
  EXPECT_LT(sequence.draft_trust, before) << "without a draft there is nothing to learn";
}

}  // namespace
}  // namespace sluice::engine
