#include "base/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
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

// A caller never waits for another caller's loop: it may even be called from inside one.
TEST(ThreadTeamStress, ACallerThatFindsTheTeamInUseWorksAlone) {
  ThreadTeam team(2);
  int hits = 0;
  team.parallel_for(4, 1, [&](int64_t outer, int64_t) {
    if (outer != 0) return;
    const auto caller = std::this_thread::get_id();
    team.parallel_for(9, 2, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      hits += static_cast<int>(end - begin);
    });
  });
  EXPECT_EQ(hits, 9);
}

// Turns on when a caller has looked at the clock twice in a loop: before, and when it has done what
// it found to do.
class CountingClock : public ManualClock {
 public:
  TimePoint now() const override {
    ++calls;
    return ManualClock::now();
  }
  mutable std::atomic<int> calls{0};
};

// One loop in which a worker's chunk takes `delay` longer than all of the caller's; false if no
// worker came.
bool run_with_delay(ThreadTeam& team, CountingClock& clock, Duration delay) {
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> is_delayed{false}, has_ended{false};
  clock.calls = 0;
  team.parallel_for(2, 1, [&](int64_t begin, int64_t) {
    if (std::this_thread::get_id() == caller) {
      // Leaves a chunk to the worker, but not for ever.
      for (int i = 0; begin == 0 && i < 100'000 && !is_delayed.load(); ++i) {
        std::this_thread::yield();
      }
      return;
    }
    is_delayed = true;
    while (clock.calls.load() < 2) std::this_thread::yield();
    clock.advance(delay);
    has_ended = true;
  });
  return has_ended;
}

// Whether, in so many loops, some chunk ran elsewhere than on the calling thread.
bool shares_work(ThreadTeam& team, int loops) {
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> shared{false};
  for (int i = 0; i < loops && !shared; ++i) {
    team.parallel_for(2, 1, [&](int64_t, int64_t) {
      if (std::this_thread::get_id() != caller) shared = true;
      std::this_thread::yield();
    });
  }
  return shared;
}

// A worker that is asked comes sooner or later, on a busy machine later; one that is not never
// does.
bool asks_workers(ThreadTeam& team) { return shares_work(team, 10'000'000); }
bool works_alone(ThreadTeam& team) { return !shares_work(team, 1000); }

void stall_for(ThreadTeam& team, CountingClock& clock, Duration time) {
  while (!run_with_delay(team, clock, time)) {
  }
}

TEST(ThreadTeamStress, CallersWorkAloneForAWhileAfterManyStalls) {
  using std::chrono::milliseconds;
  CountingClock clock;
  clock.advance(milliseconds(1000));
  ThreadTeam team(2, clock);
  stall_for(team, clock, milliseconds(9));
  EXPECT_TRUE(asks_workers(team)) << "one is bearable";
  stall_for(team, clock, milliseconds(9));
  // Soon after the last ones fewer are enough, and each time doubles how long a place stays empty.
  for (const int alone : {8, 16, 32}) {
    EXPECT_TRUE(works_alone(team));
    clock.advance(milliseconds(alone - 1));
    EXPECT_TRUE(works_alone(team));
    clock.advance(milliseconds(1));
    EXPECT_TRUE(asks_workers(team));
    stall_for(team, clock, milliseconds(9));
  }
  clock.advance(milliseconds(1000));
  stall_for(team, clock, milliseconds(11));
  EXPECT_TRUE(works_alone(team));
  clock.advance(milliseconds(8));
  EXPECT_TRUE(asks_workers(team)) << "a stall after a long time counts as the first";
}

// A thread that loses a tenth of the time brings more than it costs.
TEST(ThreadTeamStress, RareStallsAreBorne) {
  using std::chrono::milliseconds;
  CountingClock clock;
  ThreadTeam team(2, clock);
  for (int i = 0; i < 100; ++i) {
    clock.advance(milliseconds(45));
    stall_for(team, clock, milliseconds(5));
    ASSERT_TRUE(asks_workers(team));
  }
}

TEST(ThreadTeamStress, AShortWaitIsNoStall) {
  CountingClock clock;
  ThreadTeam team(2, clock);
  for (int i = 0; i < 1000; ++i) {
    stall_for(team, clock, std::chrono::microseconds(200));
    ASSERT_TRUE(asks_workers(team));
  }
}

// The most threads that were in one of some loops at a time. Chunks wait a little for each other.
int most_at_once(ThreadTeam& team, int loops) {
  int most = 0;
  for (int i = 0; i < loops && most < team.size(); ++i) {
    std::atomic<int> inside{0};
    std::atomic<int> peak{0};
    team.parallel_for(team.size(), 1, [&](int64_t, int64_t) {
      const int now = ++inside;
      for (int seen = peak; seen < now && !peak.compare_exchange_weak(seen, now);) {
      }
      for (int j = 0; j < 20 && peak.load() < team.size(); ++j) std::this_thread::yield();
      --inside;
    });
    most = std::max(most, peak.load());
  }
  return most;
}

TEST(ThreadTeamStress, EachStallEmptiesAPlaceOfALargerTeam) {
  using std::chrono::milliseconds;
  CountingClock clock;
  clock.advance(milliseconds(1000));
  ThreadTeam team(4, clock);
  while (most_at_once(team, 100) < 4) {
  }
  for (const int left : {3, 2, 1}) {
    stall_for(team, clock, milliseconds(left == 3 ? 11 : 7));
    EXPECT_LE(most_at_once(team, 100), left);
    if (left > 1) EXPECT_TRUE(asks_workers(team));
    if (left == 1) EXPECT_TRUE(works_alone(team));
  }
  // They come back one by one.
  for (const int back : {2, 3, 4}) {
    clock.advance(milliseconds(8));
    EXPECT_TRUE(asks_workers(team));
    EXPECT_LE(most_at_once(team, 100), back);
  }
  while (most_at_once(team, 100) < 4) {
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
