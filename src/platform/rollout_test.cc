#include "platform/rollout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/rng.h"
#include "platform/rollout_test_support.h"

namespace sluice::platform {
namespace {

TEST_F(RolloutTest, TheFirstRevisionGetsEverythingAtOnce) {
  EXPECT_EQ(shown(run().weights), "");
  exists("v1", false);
  input_.latest = "v1";
  policy_ = policy_of(kProgressive);
  EXPECT_EQ(shown(run().weights), "v1:100") << "requests wait for it";
  exists("v1");
  EXPECT_EQ(shown(run().weights), "v1:100");
  EXPECT_EQ(rollout_.stable, "v1");
  EXPECT_EQ(rollout_.phase, RolloutPhase::kIdle);
}

TEST_F(RolloutTest, AFirstOneThatGotReadyIsNotGivenUpForTheNext) {
  exists("v1", false);
  input_.latest = "v1";
  EXPECT_EQ(shown(run().weights), "v1:100");
  exists("v1");
  exists("v2", false);
  input_.latest = "v2";
  EXPECT_EQ(shown(run().weights), "v1:100") << "it became ready as the next one was made";
  EXPECT_EQ(rollout_.stable, "v1");
  EXPECT_EQ(rollout_.candidate, "v2");
  exists("v2");
  EXPECT_EQ(shown(run().weights), "v2:100");
}

TEST_F(RolloutTest, WithoutAPolicyTheLatestReadyTakesAll) {
  upgrade("{}");
  EXPECT_EQ(shown(run().weights), "v1:100");
  EXPECT_EQ(shown(run().capacity), "v1:100 v2:100");
  exists("v2");
  input_.revisions[1].can_carry = 50;
  EXPECT_EQ(shown(run().weights), "v1:100") << "constant capacity";
  EXPECT_EQ(rollout_.reason, "WaitsForCapacity");
  input_.revisions[1].can_carry = 100;
  EXPECT_EQ(shown(run().weights), "v2:100");
  EXPECT_EQ(rollout_.stable, "v2");
  EXPECT_EQ(rollout_.previous, "v1");
  EXPECT_EQ(notes_, std::vector<std::string>{"Promoted"});
}

TEST_F(RolloutTest, StepByStep) {
  upgrade(kProgressive);
  exists("v2");
  RolloutDecision at = run();
  EXPECT_EQ(shown(at.weights), "v1:80 v2:20");
  EXPECT_EQ(shown(at.capacity), "v1:100 v2:60");
  EXPECT_EQ(at.next_at, now_ + 5);
  EXPECT_EQ(shown(after(5).weights), "v1:80 v2:20");
  at = after(5);
  EXPECT_EQ(shown(at.weights), "v1:40 v2:60");
  EXPECT_EQ(rollout_.phase, RolloutPhase::kStepping);
  after(5);
  at = after(5);
  EXPECT_EQ(shown(at.weights), "v2:100") << "watched for as long as an analysis takes";
  EXPECT_EQ(rollout_.candidate, "v2");
  after(5);
  at = after(5);
  EXPECT_EQ(rollout_.stable, "v2");
  EXPECT_EQ(rollout_.candidate, "");
  EXPECT_FALSE(at.next_at.has_value());
  EXPECT_EQ(notes_,
            (std::vector<std::string>{"RolloutStep", "RolloutStep", "RolloutStep", "Promoted"}));
  for (const auto& [from, to] : asked_) EXPECT_LE(to, now_ - kReportLag);
}

TEST_F(RolloutTest, RollsBackWithinTheAnalysisWindowAndDoesNotTryAgain) {
  upgrade(kProgressive);
  exists("v2");
  run();
  figures_["v2"] = good();
  figures_["v2"].errors = 50;
  EXPECT_EQ(shown(after(5).weights), "v1:80 v2:20");
  EXPECT_EQ(rollout_.bad_looks, 1);
  EXPECT_EQ(shown(after(5).weights), "v1:100") << "interval × failureLimit after it began";
  EXPECT_EQ(rollout_.phase, RolloutPhase::kRolledBack);
  EXPECT_EQ(rollout_.failed, "v2");
  EXPECT_TRUE(rollout_.message.contains("50 of 100 requests failed")) << rollout_.message;
  EXPECT_EQ(shown(run().capacity), "v1:100") << "the failed one ends";
  for (int i = 0; i < 20; ++i) EXPECT_EQ(shown(after(60).weights), "v1:100");
  exists("v3");
  input_.latest = "v3";
  EXPECT_EQ(shown(run().weights), "v1:80 v3:20") << "another specification";
  EXPECT_EQ(rollout_.failed, "");
}

TEST_F(RolloutTest, FewRequestsDecideNothingAndAddUp) {
  upgrade(kProgressive);
  exists("v2");
  run();
  const double began = rollout_.figures_from;
  figures_["v2"] = {.requests = 3, .errors = 3};
  after(5);
  after(5);
  EXPECT_EQ(rollout_.bad_looks, 0);
  EXPECT_EQ(rollout_.step, 1) << "time goes on";
  asked_.clear();
  figures_["v2"] = {.requests = 12, .errors = 12};
  after(5);
  EXPECT_EQ(rollout_.bad_looks, 1);
  EXPECT_GT(asked_.front().second - asked_.front().first, 2.0);
  EXPECT_GT(asked_.front().first, began - 1);
}

TEST_F(RolloutTest, ABadLookHoldsTheStepAndAGoodOneClearsIt) {
  upgrade(kProgressive);
  exists("v2");
  run();
  after(5);
  figures_["v2"] = {.requests = 50, .errors = 25};
  EXPECT_EQ(shown(after(5).weights), "v1:80 v2:20") << "the pause is over, but a look was bad";
  figures_["v2"] = good();
  EXPECT_EQ(shown(after(5).weights), "v1:40 v2:60");
  EXPECT_EQ(rollout_.bad_looks, 0);
}

TEST_F(RolloutTest, ABadLookDoesNotHoldAnIdleCandidateForEver) {
  upgrade(kProgressive);
  exists("v2");
  run();
  after(5);
  figures_["v2"] = {.requests = 50, .errors = 25};
  after(5);
  ASSERT_EQ(rollout_.bad_looks, 1);
  figures_["v2"] = {};  // nobody asks any more
  EXPECT_EQ(shown(after(5).weights), "v1:80 v2:20");
  EXPECT_EQ(shown(after(5).weights), "v1:40 v2:60") << "two quiet looks";
  EXPECT_EQ(rollout_.bad_looks, 0);
  EXPECT_EQ(rollout_.quiet_looks, 0);
}

TEST_F(RolloutTest, ABadLookHoldsWhileTheFewWhoAskAreFailed) {
  upgrade(kProgressive);
  exists("v2");
  run();
  after(5);
  figures_["v2"] = {.requests = 50, .errors = 25};
  after(5);
  figures_["v2"] = {.requests = 4, .errors = 2};  // too few to decide
  for (int i = 0; i < 10; ++i) EXPECT_EQ(shown(after(5).weights), "v1:80 v2:20");
  EXPECT_EQ(rollout_.bad_looks, 1);
  figures_["v2"] = {.requests = 4, .errors = 0};
  after(5);
  EXPECT_EQ(shown(after(5).weights), "v1:40 v2:60");
}

TEST_F(RolloutTest, WhatComesNoFurtherIsRolledBack) {
  upgrade(R"({"sluice":{"rollout":{"progressDeadlineSeconds":60}}})");
  input_.revisions[1].no_room = "2 GiB of 3 GiB are taken";
  RolloutDecision at = run();
  EXPECT_EQ(rollout_.reason, "InsufficientRoom");
  EXPECT_TRUE(rollout_.message.contains("2 GiB of 3 GiB are taken")) << rollout_.message;
  EXPECT_TRUE(rollout_.message.contains("Recreate")) << rollout_.message;
  EXPECT_EQ(at.next_at, now_ + 60);
  input_.revisions[1].loaded = false;
  input_.revisions[1].pulling = true;
  after(1000);
  EXPECT_EQ(rollout_.reason, "ModelMissing") << "a model takes as long as it takes";
  input_.revisions[1].loaded = true;
  input_.revisions[1].pulling = false;
  EXPECT_EQ(shown(after(59).weights), "v1:100");
  EXPECT_EQ(rollout_.candidate, "v2");
  EXPECT_EQ(shown(after(1).weights), "v1:100");
  EXPECT_EQ(rollout_.phase, RolloutPhase::kRolledBack);
  EXPECT_EQ(rollout_.reason, "ProgressDeadlineExceeded");
  EXPECT_TRUE(rollout_.message.contains("no further for 60 s")) << rollout_.message;
  EXPECT_EQ(shown(run().capacity), "v1:100") << "what it had is free again";
}

TEST_F(RolloutTest, WithoutAPolicyALateOneIsToldAndGoesOnWaiting) {
  upgrade("{}");
  after(601);
  after(1);
  EXPECT_EQ(rollout_.reason, "ProgressDeadlineExceeded");
  EXPECT_EQ(notes_, std::vector<std::string>{"ProgressDeadlineExceeded"}) << "once";
  exists("v2");
  EXPECT_EQ(shown(run().weights), "v2:100");
}

TEST_F(RolloutTest, WhereRoomIsShortTheOldOneShrinksAsTheNewOneGrows) {
  for (const bool by_steps : {false, true}) {
    rollout_ = {};
    input_ = {};
    policy_ = {};
    upgrade(by_steps ? kProgressive : "{}");
    exists("v2");
    RevisionState& v2 = input_.revisions[1];
    v2.can_carry = 25;
    RolloutDecision at = run();
    EXPECT_EQ(shown(at.weights), by_steps ? "v1:80 v2:20" : "v1:100");
    EXPECT_EQ(shown(at.capacity), by_steps ? "v1:100 v2:60" : "v1:100 v2:100");
    v2.no_room = "all is taken";
    at = after(10);
    EXPECT_EQ(shown(at.weights), "v1:75 v2:25");
    EXPECT_EQ(rollout_.reason, "InsufficientRoom");
    EXPECT_EQ(at.capacity.front(), (RevisionWeight{"v1", 75}));
    v2.no_room.clear();
    v2.can_carry = 50;
    at = after(10);
    EXPECT_EQ(shown(at.weights), "v1:50 v2:50") << "it goes on, though there seems to be room";
    EXPECT_EQ(at.capacity.front(), (RevisionWeight{"v1", 50}));
    v2.can_carry = 100;
    for (int i = 0; i < 10; ++i) at = after(10);
    EXPECT_EQ(shown(at.weights), "v2:100");
    EXPECT_EQ(rollout_.stable, "v2");
    EXPECT_FALSE(rollout_.tight);
  }
}

TEST_F(RolloutTest, RecreateEndsTheOldOneFirst) {
  upgrade(R"({"sluice":{"rollout":{"strategy":"Recreate"}}})");
  EXPECT_EQ(rollout_.stable, "v2") << "its model was there";
  RolloutDecision at = run();
  EXPECT_EQ(shown(at.weights), "v2:100") << "requests wait for it";
  EXPECT_EQ(shown(at.capacity), "v2:100");
  exists("v2");
  EXPECT_EQ(shown(run().weights), "v2:100");
  exists("v3", false);
  input_.revisions[2].loaded = false;
  input_.latest = "v3";
  EXPECT_EQ(shown(run().weights), "v2:100");
  EXPECT_EQ(rollout_.reason, "ModelMissing");
  input_.revisions[2].loaded = true;
  exists("v2", false);
  EXPECT_EQ(shown(run().weights), "v3:100");
  input_.revisions[2].failure = "exit code 1";
  at = run();
  EXPECT_EQ(rollout_.stable, "v2") << "it never worked";
  EXPECT_EQ(rollout_.failed, "v3");
  EXPECT_EQ(shown(at.capacity), "v2:100");
  EXPECT_EQ(shown(after(1000).weights), "v2:100");
  EXPECT_EQ(rollout_.phase, RolloutPhase::kRolledBack);
}

TEST_F(RolloutTest, ARevisionThatIsLostGetsNothing) {
  upgrade(kProgressive);
  exists("v2");
  run();
  exists("v2", false);
  EXPECT_EQ(shown(after(1).weights), "v1:100");
  EXPECT_EQ(rollout_.weight, 20) << "it may come back";
  after(5);
  EXPECT_EQ(rollout_.bad_looks, 1);
  EXPECT_EQ(shown(after(5).weights), "v1:100");
  EXPECT_EQ(rollout_.failed, "v2");
}

TEST_F(RolloutTest, WhatCannotStartIsRolledBack) {
  upgrade(kProgressive);
  input_.revisions[1].failure = "exit code 1: no such model";
  EXPECT_EQ(shown(run().weights), "v1:100");
  EXPECT_EQ(rollout_.failed, "v2");
  EXPECT_TRUE(rollout_.message.contains("no such model"));
}

TEST_F(RolloutTest, NoDeadlineRunsWhileItIsStoppedOrNobodyLooks) {
  upgrade(kProgressive);
  input_.stopped = true;
  after(10'000);
  EXPECT_EQ(rollout_.candidate, "v2");
  input_.stopped = false;
  run();
  after(599);
  EXPECT_EQ(rollout_.candidate, "v2");
  now_ += 10'000;
  input_.began = now_;
  after(599);
  EXPECT_EQ(rollout_.candidate, "v2") << "the control plane was away";
  after(2);
  EXPECT_EQ(rollout_.candidate, "");
  EXPECT_EQ(rollout_.reason, "ProgressDeadlineExceeded");
}

TEST_F(RolloutTest, WhereRoomIsShortTheOldOneGetsItsRoomBackFromOneThatBreaks) {
  upgrade("{}");
  exists("v2");
  input_.revisions[1].can_carry = 75;
  input_.revisions[1].no_room = "all is taken";
  RolloutDecision at = run();
  EXPECT_EQ(shown(at.weights), "v1:25 v2:75");
  exists("v2", false);
  at = run();
  EXPECT_EQ(shown(at.weights), "v1:100");
  EXPECT_EQ(shown(at.capacity), "v1:100 v2:1");
  exists("v2");
  EXPECT_EQ(shown(run().weights), "v1:25 v2:75");
}

TEST_F(RolloutTest, WithoutAPolicyAFailureIsOnlyTold) {
  upgrade("{}");
  input_.revisions[1].failure = "no memory";
  run();
  EXPECT_EQ(rollout_.failed, "");
  EXPECT_EQ(rollout_.reason, "RevisionFailed");
  input_.revisions[1].failure.clear();
  exists("v2");
  EXPECT_EQ(shown(run().weights), "v2:100");
}

TEST_F(RolloutTest, BlueGreenAsksTheCheckBeforeAnybodyIsServed) {
  upgrade(R"({"sluice":{"rollout":{"strategy":"BlueGreen","analysis":{"intervalSeconds":5,
              "failureLimit":2,"check":{"url":"http://judge/","timeoutSeconds":3}}}}})");
  exists("v2");
  EXPECT_EQ(shown(run().weights), "v1:100");
  RolloutDecision at = after(5);
  ASSERT_TRUE(at.check.has_value());
  EXPECT_EQ(at.check->url, "http://judge/");
  EXPECT_EQ(json::serialize(at.check->body), R"({"stable":"v1","candidate":"v2","weight":0})");
  EXPECT_TRUE(after(1).check.has_value()) << "until it is answered";
  input_.check = RolloutInput::Check{.look = at.check->look, .good = false, .message = "poor"};
  EXPECT_EQ(shown(run().weights), "v1:100");
  EXPECT_EQ(rollout_.bad_looks, 1);
  at = after(5);
  ASSERT_TRUE(at.check.has_value()) << "another look, another answer";
  input_.check = RolloutInput::Check{.look = at.check->look, .good = true};
  EXPECT_EQ(shown(run().weights), "v2:100");
  EXPECT_EQ(rollout_.stable, "v1") << "watched";
}

TEST_F(RolloutTest, ANewerRevisionTakesTheCandidatesPlace) {
  upgrade(kProgressive);
  exists("v2");
  run();
  exists("v3", false);
  input_.latest = "v3";
  EXPECT_EQ(shown(run().weights), "v1:100");
  EXPECT_EQ(rollout_.candidate, "v3");
  input_.latest = "v1";  // taken back in the specification
  EXPECT_EQ(shown(run().weights), "v1:100");
  EXPECT_EQ(rollout_.candidate, "");
  EXPECT_EQ(notes_.back(), "RolloutAbandoned");
}

// Whatever happens in whatever order: what the header promises holds at every step.
TEST_F(RolloutTest, PromisesHoldOnRandomHistories) {
  const std::vector<std::string> specs = {
      "{}",
      std::string(kProgressive),
      R"({"predictor":{"canaryTrafficPercent":40}})",
      R"({"predictor":{"canaryTrafficPercent":100}})",
      R"({"sluice":{"rollout":{"strategy":"BlueGreen"}}})",
      R"({"sluice":{"rollout":{"strategy":"Manual"}}})",
      R"({"sluice":{"rollout":{"strategy":"Recreate"}}})",
      R"({"sluice":{"rollout":{"progressDeadlineSeconds":20}}})",
      R"({"sluice":{"rollout":{"autoRollback":false,"analysis":{"intervalSeconds":1}}}})",
      R"({"sluice":{"rollout":{"analysis":{"intervalSeconds":1,"check":{"url":"http://c/"}}}}})"};
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    Rng rng(seed);
    rollout_ = {};
    input_ = {};
    policy_ = {};
    now_ = 1000;
    int made = 0;
    for (int i = 0; i < 150; ++i) {
      now_ += rng.uniform() * 8;
      switch (rng.below(8)) {
        case 0:
          exists("v" + std::to_string(++made), rng.below(2) == 0);
          input_.latest = input_.revisions.back().name;
          break;
        case 1:
          policy_ = policy_of(specs[rng.below(specs.size())]);
          break;
        case 2:
          if (!input_.revisions.empty()) {
            input_.latest = input_.revisions[rng.below(input_.revisions.size())].name;
          }
          break;
        case 3:
          if (input_.revisions.size() > 1) {
            const auto at = static_cast<ptrdiff_t>(rng.below(input_.revisions.size()));
            input_.revisions.erase(input_.revisions.begin() + at);
          }
          break;
        case 4:
          input_.command = {static_cast<RolloutAction>(rng.below(4)),
                            "v" + std::to_string(rng.below(static_cast<uint64_t>(made) + 1))};
          break;
        default:
          for (RevisionState& each : input_.revisions) {
            each.ready = rng.below(4) != 0;
            each.can_carry = rng.below(4) == 0 ? 30 : 100;
            each.failure = rng.below(20) == 0 ? "broken" : "";
            each.no_room = rng.below(4) == 0 ? "no room" : "";
            each.loaded = rng.below(8) != 0;
            figures_[each.name] = {.requests = static_cast<int64_t>(rng.below(40)),
                                   .errors = static_cast<int64_t>(rng.below(4))};
          }
      }
      const int weight_before = rollout_.weight;
      const std::string candidate_before = rollout_.candidate;
      const RolloutDecision decision = run();
      if (decision.check) {
        input_.check = RolloutInput::Check{.look = decision.check->look, .good = rng.below(4) != 0};
      }
      int sum = 0;
      const auto ready = [&](const std::string& name) {
        const auto found = std::ranges::find(input_.revisions, name, &RevisionState::name);
        return found != input_.revisions.end() && found->ready;
      };
      const auto can_carry = [&](const std::string& name) {
        return std::ranges::find(input_.revisions, name, &RevisionState::name)->can_carry;
      };
      for (const RevisionWeight& each : decision.weights) {
        sum += each.percent;
        EXPECT_GT(each.percent, 0);
        const bool waits = decision.weights.size() == 1 &&
                           (each.revision == rollout_.stable || rollout_.stable.empty());
        EXPECT_TRUE(ready(each.revision) || waits) << seed << " " << shown(decision.weights);
        EXPECT_TRUE(each.revision != rollout_.failed || !ready(rollout_.stable))
            << seed << " " << json::serialize(to_json(rollout_)) << " latest " << input_.latest;
      }
      if (rollout_.weight > weight_before || rollout_.candidate != candidate_before) {
        EXPECT_TRUE(rollout_.weight == 0 || can_carry(rollout_.candidate) >= rollout_.weight)
            << seed;
      }
      const bool any = std::ranges::any_of(
          input_.revisions, [&](const RevisionState& each) { return each.name == input_.latest; });
      if (any) EXPECT_EQ(sum, 100) << seed << " at " << i;
      ASSERT_FALSE(HasFailure());
    }
  }
}

}  // namespace
}  // namespace sluice::platform
