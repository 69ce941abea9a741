#include "platform/work_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace sluice::platform {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

WorkKey key(WorkKind kind, std::string name = "a") { return {kind, "default", std::move(name)}; }

TEST(WorkQueue, DoesAThingOnceHoweverOftenItWasNamed) {
  ManualClock clock;
  WorkQueue queue(clock);
  for (int i = 0; i < 3; ++i) queue.add(key(WorkKind::kService));
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(queue.take(), key(WorkKind::kService));
  EXPECT_EQ(queue.take(), std::nullopt);
  // Named again while it is worked on: it comes again.
  queue.add(key(WorkKind::kService));
  EXPECT_EQ(queue.take(), key(WorkKind::kService));
}

TEST(WorkQueue, UrgentKindsFirstThenTheOldest) {
  ManualClock clock;
  WorkQueue queue(clock);
  queue.add(key(WorkKind::kService, "b"));
  queue.add(key(WorkKind::kService, "a"));
  queue.add(key(WorkKind::kReplica));
  queue.add(key(WorkKind::kPlan));
  EXPECT_EQ(queue.take()->kind, WorkKind::kPlan);
  EXPECT_EQ(queue.take()->kind, WorkKind::kReplica);
  EXPECT_EQ(queue.take()->name, "b");
  EXPECT_EQ(queue.take()->name, "a");
}

TEST(WorkQueue, TheEarliestTimeHolds) {
  ManualClock clock;
  WorkQueue queue(clock);
  queue.add_after(key(WorkKind::kService), seconds(10));
  queue.add_after(key(WorkKind::kService), seconds(20));
  EXPECT_EQ(queue.next_due(), clock.now() + seconds(10));
  EXPECT_EQ(queue.take(), std::nullopt);
  queue.add_after(key(WorkKind::kService), seconds(1));
  clock.advance(seconds(1));
  EXPECT_TRUE(queue.take().has_value());
  EXPECT_EQ(queue.next_due(), std::nullopt);
}

TEST(WorkQueue, FailuresWaitLongerEachTimeAndSuccessForgetsThem) {
  ManualClock clock;
  WorkQueue queue(clock, {.first_pause = milliseconds(5), .max_pause = milliseconds(30)});
  const WorkKey one = key(WorkKind::kService);
  for (const int pause : {5, 10, 20, 30, 30}) {
    queue.finish(one, WorkDone::retry());
    EXPECT_EQ(queue.next_due(), clock.now() + milliseconds(pause));
    clock.advance(milliseconds(pause));
    EXPECT_EQ(queue.take(), one);
  }
  queue.finish(one, WorkDone::done());
  EXPECT_EQ(queue.size(), 0u);
  queue.finish(one, WorkDone::retry());
  EXPECT_EQ(queue.next_due(), clock.now() + milliseconds(5));
}

TEST(WorkQueue, IsBounded) {
  ManualClock clock;
  WorkQueue queue(clock, {.max_keys = 2});
  for (const char* name : {"a", "b", "c"}) queue.add(key(WorkKind::kService, name));
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_TRUE(queue.overflowed());
  EXPECT_FALSE(queue.overflowed());
}

TEST(WorkQueue, OneThreadWorksUntilToldToStop) {
  WorkQueue queue;
  std::atomic<int> done = 0;
  std::atomic<int> again = 0;
  std::jthread worker([&](const std::stop_token& stop) {
    queue.run(stop, [&](const WorkKey& each) {
      if (each.kind == WorkKind::kScale && ++again < 3) return WorkDone::after(milliseconds(1));
      ++done;
      done.notify_all();
      return WorkDone::done();
    });
  });
  // A later one must not keep an earlier one waiting.
  queue.add_after(key(WorkKind::kService, "late"), std::chrono::hours(1));
  for (int i = 0; i < 100; ++i) queue.add(key(WorkKind::kReplica, std::to_string(i)));
  queue.add(key(WorkKind::kScale));
  for (int seen = done; seen < 101; seen = done) done.wait(seen);
  EXPECT_EQ(again, 3);
  EXPECT_EQ(queue.size(), 1u);
}

}  // namespace
}  // namespace sluice::platform
