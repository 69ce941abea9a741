#include "process/memory_verdict.h"

#include <gtest/gtest.h>

namespace sluice::process {
namespace {

TEST(MemoryVerdict, ItsOwnControlGroupIsProof) {
  EXPECT_TRUE(judge_memory({.killed = true, .limit = 1000, .own_kills = 1}).out_of_memory);
  EXPECT_TRUE(
      judge_memory({.killed = true, .asked = true, .limit = 1000, .own_kills = 1}).out_of_memory);
  const auto child = judge_memory({.limit = 1000, .own_kills = 1});
  EXPECT_FALSE(child.out_of_memory) << "a child of its was killed, and it ended by itself";
  EXPECT_EQ(child.why, "");
}

TEST(MemoryVerdict, ANeighboursEndIsNotItsOwn) {
  const auto verdict = judge_memory({.killed = true, .limit = 1000, .kills_around = 3});
  EXPECT_FALSE(verdict.out_of_memory);
  EXPECT_TRUE(verdict.why.contains("3 of the processes")) << verdict.why;
  EXPECT_EQ(judge_memory({.killed = true, .asked = true, .kills_around = 3}).why, "");
  EXPECT_EQ(judge_memory({.kills_around = 3}).why, "");
  EXPECT_EQ(judge_memory({.killed = true}).why, "");
}

TEST(MemoryVerdict, ByWhatTheWatchdogSaw) {
  EXPECT_TRUE(judge_memory({.killed = true, .over_limit = true, .limit = 1000}).out_of_memory);
  const auto at = [](uint64_t memory, uint64_t growth) {
    return judge_memory({.killed = true,
                         .watched = true,
                         .limit = 1000,
                         .memory = memory,
                         .growth = growth,
                         .kills_around = 1})
        .out_of_memory;
  };
  EXPECT_TRUE(at(900, 0));
  EXPECT_FALSE(at(899, 0));
  EXPECT_TRUE(at(600, 400));
  EXPECT_FALSE(at(600, 399));
}

}  // namespace
}  // namespace sluice::process
