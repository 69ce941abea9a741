#include "engine/step_budget.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::engine {
namespace {

constexpr int kMost = 512;

Duration machine(int rows) {
  return std::chrono::milliseconds(16) + std::chrono::microseconds(500) * rows;
}

// A budget that has seen steps of these sizes.
StepBudget taught(double max_stretch) {
  StepBudget budget(max_stretch, kMost);
  for (int i = 0; i < 30; ++i) {
    for (const int rows : {1, 4, 8, 12, 16, 24, 32, 64, 128, 256, 512}) {
      budget.learn({rows, 0}, machine(rows));
    }
  }
  return budget;
}

StepLoad load(int streams, int prompts) {
  return {.streams = streams, .stream_rows = {streams, 0}, .prompts = prompts};
}

double stretch(int streams, int rows) {
  return to_seconds(machine(streams + rows)) / to_seconds(machine(streams));
}

TEST(StepBudget, WithoutABoundAStepTakesAll) {
  StepBudget budget = taught(0.0);
  EXPECT_EQ(budget.prompt_rows(load(8, 1)), kMost);
}

TEST(StepBudget, WithoutStreamsThereIsNothingToProtect) {
  StepBudget budget = taught(1.25);
  EXPECT_EQ(budget.prompt_rows(load(0, 3)), kMost);
}

TEST(StepBudget, BeforeAnythingIsLearnedAStepTakesAll) {
  StepBudget budget(1.25, kMost);
  EXPECT_EQ(budget.prompt_rows(load(8, 1)), kMost);
}

// The first step of a fresh server is a whole chunk of a prompt. A row's share of it is a small
// part of what one row takes by itself, and beside that nothing would ever fit.
TEST(StepBudget, WhatStreamsTakeAloneIsLearnedBeforePromptsJoinThem) {
  StepBudget budget(1.25, kMost);
  budget.learn({kMost, 0}, machine(kMost));
  EXPECT_EQ(budget.prompt_rows(load(1, 11)), 0);
  budget.learn({1, 0}, machine(1));
  EXPECT_GT(budget.prompt_rows(load(1, 11)), 4 * kLeastPromptRows);
  // One stream says little about eleven.
  EXPECT_EQ(budget.prompt_rows(load(11, 11)), 0);
  budget.learn({11, 0}, machine(11));
  EXPECT_GT(budget.prompt_rows(load(11, 11)), 4 * kLeastPromptRows);
}

TEST(StepBudget, PromptsNeverWaitTwiceForWhatIsNotLearned) {
  StepBudget budget(1.25, kMost);
  budget.learn({kMost, 0}, machine(kMost));
  EXPECT_EQ(budget.prompt_rows(load(8, 2)), 0);
  EXPECT_GE(budget.prompt_rows(load(8, 2)), kLeastPromptRows);
}

// A server's first step of all waits for what is not in memory yet.
TEST(StepBudget, ASlowFirstStepStretchesNoOthers) {
  StepBudget budget(1.25, kMost);
  budget.learn({1, 0}, std::chrono::milliseconds(100));
  budget.learn({kMost, 0}, machine(kMost));
  for (int i = 0; i < 100; ++i) {
    const int rows = budget.prompt_rows(load(8, 1));
    budget.learn({8 + rows, 0}, machine(8 + rows));
    if (i > 1) EXPECT_LE(stretch(8, rows), 1.5) << i << ": " << rows;
  }
  EXPECT_GE(budget.prompt_rows(load(8, 1)), kLeastPromptRows);
}

// Whichever size was seen first, the one step is the only one.
TEST(StepBudget, OneStepOfStreamsAloneIsEnough) {
  for (int streams = 1; streams <= 300; ++streams) {
    StepBudget budget(1.25, kMost);
    budget.learn({kMost, 0}, machine(kMost));
    budget.prompt_rows(load(streams, 2));
    budget.learn({streams, 0}, machine(streams));
    EXPECT_GE(budget.prompt_rows(load(streams, 2)), kLeastPromptRows) << streams;
  }
}

TEST(StepBudget, OnePromptStretchesAStepByWhatIsAllowed) {
  StepBudget budget = taught(1.25);
  for (int i = 0; i < 500; ++i) {
    const int rows = budget.prompt_rows(load(8, 1));
    EXPECT_LE(stretch(8, rows), 1.27);
    EXPECT_GE(stretch(8, rows), 1.2);
  }
}

// Every place is taken as the step is planned, and one gets free in it.
TEST(StepBudget, APromptThatWasNotExpectedIsBoundedToo) {
  StepBudget budget = taught(1.25);
  EXPECT_LE(stretch(8, budget.prompt_rows(load(8, 0))), 1.27);
  EXPECT_EQ(budget.prompt_rows(load(0, 0)), kMost);
}

TEST(StepBudget, SomeRowsAreAlwaysLeft) {
  StepBudget budget = taught(1.0);
  EXPECT_EQ(budget.prompt_rows(load(8, 1)), kLeastPromptRows);
  EXPECT_EQ(StepBudget(1.25, 2).prompt_rows(load(1, 1)), 2);
}

TEST(StepBudget, AQueueOfPromptsGetsMoreAndMore) {
  StepBudget budget = taught(1.25);
  const int first = budget.prompt_rows(load(8, 3));
  int rows = first;
  for (int i = 0; i < 20; ++i) {
    const int next = budget.prompt_rows(load(8, 3));
    EXPECT_GE(next, rows);
    EXPECT_LE(stretch(8, next), stretch(8, rows) * 1.1) << "steps change slowly";
    rows = next;
  }
  for (int i = 0; i < 300; ++i) rows = budget.prompt_rows(load(8, 3));
  EXPECT_GE(stretch(8, rows), 3.3) << "and no more than prompts can use well";
  EXPECT_LE(stretch(8, rows), 3.6);
  // And gives it back once the queue is short.
  for (int i = 0; i < 500; ++i) rows = budget.prompt_rows(load(8, 1));
  EXPECT_LE(stretch(8, rows), 1.27);
}

TEST(StepBudget, ManyPromptsBesideOneStreamGetMostOfTheTimeAtOnce) {
  StepBudget budget = taught(1.25);
  EXPECT_NEAR(stretch(1, budget.prompt_rows(load(1, 11))), 3.5, 0.3);
}

// Of the time of a step that 16 streams and a queue share, prompts get what the requests make of
// it.
TEST(StepBudget, AQueueGetsLittleMoreThanKeepsEveryoneStreaming) {
  for (const int rows_per_token : {1, 4, 100}) {
    StepBudget budget = taught(1.25);
    for (int i = 0; i < 10; ++i) budget.mix().ended(100 * rows_per_token, 100);
    int rows = 0;
    for (int i = 0; i < 500; ++i) rows = budget.prompt_rows(load(14, 2));
    // 16 tokens bring so many rows; one in half a millisecond.
    const double balanced = 16 * rows_per_token * 0.5 / to_seconds(machine(16)) / 1e3;
    const double expected = 1.0 + std::clamp(1.15 * balanced, 1.0, 2.5);
    EXPECT_NEAR(stretch(14, rows), expected, 0.2) << rows_per_token;
  }
}

// While eight of sixteen wait a step is as long as when two do, and later as long as it was.
TEST(StepBudget, StepsAreEvenWhileABurstIsWorkedOff) {
  StepBudget budget = taught(1.25);
  for (int i = 0; i < 10; ++i) budget.mix().ended(200, 100);
  for (int i = 0; i < 200; ++i) budget.prompt_rows(load(8, 8));
  const auto time = [&](int streams, int prompts) {
    return to_seconds(machine(streams + budget.prompt_rows(load(streams, prompts))));
  };
  const double first = time(8, 8);
  for (int streams = 9; streams < 15; ++streams) {
    EXPECT_NEAR(time(streams, 16 - streams) / first, 1.0, 0.05) << streams;
  }
}

TEST(StepBudget, ABurstIsForgottenSoon) {
  StepBudget budget = taught(1.25);
  for (int i = 0; i < 1000; ++i) budget.prompt_rows(load(8, 200));
  int steps = 0;
  while (stretch(8, budget.prompt_rows(load(8, 1))) > 1.27) ASSERT_LT(++steps, 150);
}

}  // namespace
}  // namespace sluice::engine
