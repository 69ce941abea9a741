#include "base/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <vector>

namespace sluice {
namespace {

// Loops follow each other so fast that workers come late, in the middle, or to the next one.
TEST(ThreadTeamStress, EveryChunkOfEveryLoopRunsOnceBeforeItsCallReturns) {
  for (const int threads : {2, 4}) {
    ThreadTeam team(threads);
    std::vector<int> hits(17);
    for (int round = 1; round <= 5000; ++round) {
      team.parallel_for(17, 3, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
      });
      // Plain ints: a chunk run twice at once or still running now is a race for TSan to see.
      ASSERT_EQ(std::accumulate(hits.begin(), hits.end(), 0), 17 * round);
    }
  }
}

// The caller works on: a loop ends although the only worker is busy with a chunk of its own that
// cannot end before all the others did.
TEST(ThreadTeamStress, CallerTakesWhatASlowWorkerLeaves) {
  ThreadTeam team(2);
  std::atomic<int> done{0};
  team.parallel_for(50, 1, [&](int64_t begin, int64_t) {
    if (begin == 0) {
      while (done.load() < 49) std::this_thread::yield();
    }
    ++done;
  });
  EXPECT_EQ(done, 50);
}

TEST(ThreadTeamStress, SplitsByChunkAlone) {
  for (const int threads : {1, 3}) {
    ThreadTeam team(threads);
    std::vector<std::atomic<int64_t>> ends(10);
    team.parallel_for(10, 4,
                      [&](int64_t begin, int64_t end) { ends[static_cast<size_t>(begin)] = end; });
    EXPECT_EQ(ends[0], 4);
    EXPECT_EQ(ends[4], 8);
    EXPECT_EQ(ends[8], 10);
  }
}

TEST(FunctionRef, CallsWhatItWasMadeFrom) {
  int calls = 0;
  const auto count = [&](int by) { return calls += by; };
  const auto twice = [](FunctionRef<int(int)> fn) { return fn(1) + fn(10); };
  EXPECT_EQ(twice(count), 12);
  EXPECT_EQ(twice([](int x) { return 2 * x; }), 22);
  EXPECT_EQ(calls, 11);
}

}  // namespace
}  // namespace sluice
