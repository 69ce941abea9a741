// What people say to a rollout: promote, roll back, pause, so many percent.
#include <gtest/gtest.h>

#include <algorithm>

#include "platform/rollout.h"
#include "platform/rollout_test_support.h"

namespace sluice::platform {
namespace {

TEST_F(RolloutTest, WhatIsPromotedByHandIsGivenWhatItNeedsFirst) {
  upgrade(R"({"sluice":{"rollout":{"strategy":"Manual"}}})");
  exists("v2");
  input_.revisions[1].can_carry = 50;
  input_.command = parse_rollout_command("promote v2");
  RolloutDecision at = run();
  EXPECT_EQ(shown(at.weights), "v1:100");
  EXPECT_EQ(shown(at.capacity), "v1:100 v2:100");
  input_.revisions[1].no_room = "all is taken";
  EXPECT_EQ(shown(run().weights), "v2:100") << "who asks for it gets it";
}

TEST_F(RolloutTest, WithoutAutoRollbackItStaysAndSaysSo) {
  upgrade(R"({"sluice":{"rollout":{"autoRollback":false,"steps":[{"weight":20,"pauseSeconds":10}],
              "analysis":{"intervalSeconds":5,"failureLimit":1,"maxErrorRate":0}}}})");
  exists("v2");
  run();
  figures_["v2"] = {.requests = 50, .errors = 1};
  EXPECT_EQ(shown(after(5).weights), "v1:80 v2:20");
  EXPECT_EQ(rollout_.phase, RolloutPhase::kPaused);
  EXPECT_EQ(rollout_.reason, "AnalysisFailed");
  figures_["v2"] = good();
  EXPECT_EQ(shown(after(50).weights), "v1:80 v2:20") << "until somebody decides";
  input_.command = parse_rollout_command("rollback v2");
  EXPECT_EQ(shown(run().weights), "v1:100");
}

// The command stands in an annotation that nobody takes away.
TEST_F(RolloutTest, ACommandToPromoteCountsOnce) {
  upgrade(R"({"sluice":{"rollout":{"strategy":"Recreate"}}})");
  input_.revisions[1].failure = "exit code 1";
  run();
  ASSERT_EQ(rollout_.failed, "v2");
  input_.command = parse_rollout_command("promote v2");
  input_.revisions[1].failure.clear();
  run();
  EXPECT_EQ(rollout_.stable, "v2") << "somebody knows better";
  EXPECT_EQ(rollout_.obeyed, "v2");
  input_.revisions[1].failure = "exit code 1";
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(shown(after(10).weights), "v1:100");
    EXPECT_EQ(rollout_.stable, "v1");
    EXPECT_EQ(rollout_.failed, "v2");
  }
  EXPECT_EQ(std::ranges::count(notes_, "RolledBack"), 2);
  // Taken away and given again it counts again.
  input_.command = {};
  run();
  input_.revisions[1].failure.clear();
  exists("v2");
  input_.command = parse_rollout_command("promote v2");
  EXPECT_EQ(shown(run().weights), "v2:100");
  // And not for a rollout of another time.
  policy_ = policy_of(kProgressive);
  exists("v3");
  input_.latest = "v3";
  for (int i = 0; i < 100 && rollout_.stable != "v3"; ++i) after(10);
  ASSERT_EQ(rollout_.stable, "v3");
  input_.latest = "v2";
  EXPECT_EQ(shown(run().weights), "v3:80 v2:20");
}

TEST_F(RolloutTest, ASecondCommandCountsByItsToken) {
  upgrade(R"({"sluice":{"rollout":{"strategy":"Recreate"}}})");
  input_.revisions[1].failure = "exit code 1";
  run();
  input_.command = parse_rollout_command("promote v2 2026-01-01T00:00:00.000001Z");
  const auto tried = [&] {
    input_.revisions[1].failure.clear();
    run();
    const bool took_over = rollout_.stable == "v2";
    input_.revisions[1].failure = "exit code 1";
    run();
    EXPECT_EQ(rollout_.stable, "v1");
    EXPECT_EQ(rollout_.failed, "v2");
    return took_over;
  };
  EXPECT_TRUE(tried());
  EXPECT_FALSE(tried()) << "the same command";
  input_.command = parse_rollout_command("promote v2 2026-01-01T00:00:07.000001Z");
  EXPECT_TRUE(tried());
  EXPECT_FALSE(tried());
  input_.command = parse_rollout_command("promote v2");
  EXPECT_TRUE(tried()) << "without a token it is another one, too";
  EXPECT_FALSE(tried());
}

// Or it would be carried out when that revision is rolled out another time.
TEST_F(RolloutTest, ACommandToPromoteWhatHasTheTrafficIsCarriedOutAlready) {
  upgrade(R"({"sluice":{"rollout":{"strategy":"Manual"}}})");
  exists("v2");
  input_.command = parse_rollout_command("promote v2 1");
  run();
  ASSERT_EQ(rollout_.stable, "v2");
  input_.command = parse_rollout_command("promote v2 2");
  run();
  EXPECT_EQ(rollout_.obeyed, "v2 2");
  input_.latest = "v1";
  policy_ = policy_of(R"({})");
  run();
  ASSERT_EQ(rollout_.stable, "v1");
  policy_ = policy_of(R"({"sluice":{"rollout":{"strategy":"Manual"}}})");
  input_.latest = "v2";
  EXPECT_EQ(shown(run().weights), "v1:100");
}

TEST(RolloutCommand, IsReadFromItsWords) {
  const auto read = [](std::string_view text) {
    const RolloutCommand command = parse_rollout_command(text);
    return std::pair(command.action, command.id());
  };
  using enum RolloutAction;
  EXPECT_EQ(read("promote v2"), std::pair(kPromote, std::string("v2")));
  EXPECT_EQ(read("  rollback   v2  "), std::pair(kRollback, std::string("v2")));
  EXPECT_EQ(read("pause v2 now please"), std::pair(kPause, std::string("v2 now")));
  EXPECT_EQ(read("promote v2 " + std::string(1000, 'x')).second.size(), 3 + kMaxTokenBytes);
  for (const char* none : {"", " ", "promote", "promote ", "promotes v2", "v2 promote"}) {
    EXPECT_EQ(read(none).first, kNone) << none;
  }
}

TEST_F(RolloutTest, CanaryTrafficPercentAsInKServe) {
  upgrade(R"({"predictor":{"canaryTrafficPercent":30}})");
  EXPECT_EQ(shown(run().weights), "v1:100");
  exists("v2");
  EXPECT_EQ(shown(run().weights), "v1:70 v2:30");
  EXPECT_EQ(shown(after(1e6).weights), "v1:70 v2:30");
  policy_.percent = 0;  // pins the old one
  EXPECT_EQ(shown(run().weights), "v1:100");
  EXPECT_EQ(rollout_.candidate, "v2");
  policy_.percent = 55;
  EXPECT_EQ(shown(run().weights), "v1:45 v2:55");
  policy_.percent.reset();  // promotes
  EXPECT_EQ(shown(run().weights), "v2:100");
  EXPECT_EQ(rollout_.previous, "v1");
}

TEST_F(RolloutTest, ByHandAndByCommand) {
  upgrade(R"({"sluice":{"rollout":{"strategy":"Manual"}}})");
  exists("v2");
  EXPECT_EQ(shown(after(1e6).weights), "v1:100");
  EXPECT_EQ(rollout_.reason, "WaitsForPromotion");
  input_.command = parse_rollout_command("promote v1");
  EXPECT_EQ(shown(run().weights), "v1:100") << "of another revision: no effect";
  input_.command = parse_rollout_command("promote v2");
  EXPECT_EQ(shown(run().weights), "v2:100");
  input_.command = parse_rollout_command("rollback v2");
  exists("v1", false);  // has been taken away
  RolloutDecision at = run();
  EXPECT_EQ(shown(at.weights), "v2:100") << "until the old one is back";
  EXPECT_EQ(shown(at.capacity), "v1:100 v2:100");
  exists("v1");
  at = run();
  EXPECT_EQ(shown(at.weights), "v1:100");
  EXPECT_EQ(shown(at.capacity), "v1:100");
  EXPECT_EQ(shown(after(100).weights), "v1:100") << "the command stands there still";
  input_.command = parse_rollout_command("promote v2");
  EXPECT_EQ(shown(run().weights), "v2:100") << "somebody knows better";
}

TEST_F(RolloutTest, PausedByCommand) {
  upgrade(kProgressive);
  exists("v2");
  run();
  input_.command = parse_rollout_command("pause v2");
  EXPECT_EQ(shown(after(1000).weights), "v1:80 v2:20");
  EXPECT_EQ(rollout_.phase, RolloutPhase::kPaused);
  input_.command = {};
  EXPECT_EQ(shown(run().weights), "v1:40 v2:60");
}

}  // namespace
}  // namespace sluice::platform
