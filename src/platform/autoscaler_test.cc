// What replicas and gateways tell, on its way to the counts of replicas.
#include "platform/autoscaler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "platform/simulated_world_test_support.h"

namespace sluice::platform {
namespace {

using std::chrono::seconds;

// A queue of so many tokens, and so many in KV memory, shared by those that there are.
class SignalsTest : public testing::Test {
 protected:
  void begin(std::string scaling, int max) {
    world_.signals().told = [this](const SignalTarget&) -> std::optional<ReplicaSignals> {
      ++heard_;
      const auto count = static_cast<int64_t>(std::max<size_t>(1, replicas().size()));
      return ReplicaSignals{.queued_tokens = queued_ / count,
                            .kv_used_tokens = used_ / count,
                            .kv_capacity_tokens = 1000};
    };
    SimulatedService wanted{.name = "a", .min = 1, .max = max, .memory_mib = 64};
    wanted.scaling = std::move(scaling);
    world_.apply(wanted);
    pass(seconds(70));  // more than a stable window
  }
  void pass(Duration time) {
    const TimePoint until = world_.clock().now() + time;
    while (world_.clock().now() < until) world_.step();
  }
  std::vector<control::ObjectPtr> replicas() {
    return world_.store().list(replica_type(), {}).objects;
  }
  int desired() {
    const auto revision = world_.store().get({&revision_type(), "default", "a-predictor-00001"});
    return revision ? revision_status(*revision).desired : -1;
  }

  SimulatedWorld world_{3};

  int64_t queued_ = 0;
  int64_t used_ = 0;
  int heard_ = 0;  // times that a replica was asked
};

TEST_F(SignalsTest, QueuedTokensScale) {
  begin(R"({"metric":"queuedTokens","target":1000})", 6);
  EXPECT_EQ(desired(), 1);
  queued_ = 2000;
  for (const int before = heard_; heard_ == before;) world_.step();
  pass(std::chrono::milliseconds(100));
  EXPECT_EQ(desired(), 1) << "what is told once is the load of two of the window's six seconds";
  pass(seconds(6));
  EXPECT_EQ(desired(), 3) << "2,000 at 700 for each";
  pass(seconds(70));
  EXPECT_EQ(desired(), 3) << "three with a third each are as much as one with all";
  queued_ = 0;
  pass(seconds(140));
  EXPECT_EQ(desired(), 1);
}

TEST_F(SignalsTest, KvUseScales) {
  begin(R"({"metric":"kvCache","target":0.5})", 6);
  used_ = 900;
  pass(seconds(8));
  EXPECT_EQ(desired(), 3) << "0.9 of a replica's memory, at 0.35 for each";
  used_ = 100;
  pass(seconds(140));
  EXPECT_EQ(desired(), 1);
}

TEST_F(SignalsTest, LateFirstTokensCountTheReplicasOfWhenTheyWereAsked) {
  begin(R"({"metric":"ttft","target":1000})", 20);
  world_.set_first_token(3000);
  int most = 0;
  for (int i = 0; i < 12 && replicas().size() < 2; ++i) pass(seconds(1));
  ASSERT_GE(replicas().size(), 2u);
  // Those that were asked before the others came.
  for (int i = 0; i < 3; ++i) {
    pass(seconds(1));
    most = std::max(most, desired());
  }
  world_.set_first_token(100);
  for (int i = 0; i < 10; ++i) {
    pass(seconds(1));
    most = std::max(most, desired());
  }
  EXPECT_GE(most, 3);
  EXPECT_LE(most, 6) << "a lateness of 3 at 0.7 for each, rounded to a bucket";
}

}  // namespace
}  // namespace sluice::platform
