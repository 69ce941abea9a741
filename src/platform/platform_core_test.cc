// What the reconcilers do together, in a world without faults unless a test makes one.
#include "platform/platform_core.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "platform/platform_core_test_support.h"
#include "platform/revision_spec.h"

namespace sluice::platform {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::string_view kProgressiveRollout =
    R"({"strategy":"Progressive","steps":[{"weight":20,"pauseSeconds":5},)"
    R"({"weight":60,"pauseSeconds":5}],"analysis":{"intervalSeconds":2,"minRequests":1}})";

TEST_F(PlatformCoreTest, AServiceBecomesReadyAndIsInThePlan) {
  world_.apply({.name = "a", .min = 2, .max = 2});
  act();
  EXPECT_EQ(world_.backend().alive(), 2u) << "nothing is waited for before the start";
  EXPECT_EQ(condition(service("a"), "Ready"), "Unknown Deploying");
  EXPECT_EQ(endpoints("a-predictor-00001"), 0u);
  pass(seconds(5));
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
  EXPECT_EQ(condition(service("a"), "PredictorReady"), "True ");
  EXPECT_EQ(condition(service("a"), "IngressReady"), "True ");
  EXPECT_EQ(status("a", "url"), "http://a");
  const std::string component = "components.predictor.";
  for (const char* field :
       {"latestCreatedRevision", "latestReadyRevision", "latestRolledoutRevision"}) {
    EXPECT_EQ(status("a", component + field), "a-predictor-00001") << field;
  }
  EXPECT_EQ(status("a", "modelStatus.transitionStatus"), "UpToDate");
  EXPECT_EQ(status("a", "modelStatus.states.activeModelState"), "Loaded");
  EXPECT_EQ(status("a", "clusterServingRuntimeName"), "sluice");
  EXPECT_EQ(endpoints("a-predictor-00001"), 2u);
}

TEST_F(PlatformCoreTest, AServiceIsReadyWhenTheGatewayHasItsRoute) {
  world_.hold_plans(true);
  world_.apply({.name = "a", .min = 1, .max = 1});
  pass(seconds(5));
  EXPECT_EQ(endpoints("a-predictor-00001"), 1u);
  EXPECT_EQ(condition(service("a"), "PredictorReady"), "True ");
  EXPECT_EQ(condition(service("a"), "IngressReady"), "Unknown PlanNotTaken");
  EXPECT_EQ(condition(service("a"), "Ready"), "Unknown PlanNotTaken");
  world_.hold_plans(false);
  act();
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");

  // What was reached stays so: for a controller that begins anew, and while the gateway is slow
  // to take another plan. A new one waits.
  world_.hold_plans(true);
  world_.apply({.name = "b", .min = 1, .max = 1});
  pass(seconds(5));
  world_.crash();
  pass(seconds(5));
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
  EXPECT_EQ(condition(service("b"), "Ready"), "Unknown PlanNotTaken");
  world_.hold_plans(false);
  act();
  EXPECT_EQ(condition(service("b"), "Ready"), "True ");
}

TEST_F(PlatformCoreTest, AWakeStartsAProcessBeforeAnyTimePasses) {
  world_.apply({.name = "a", .min = 0, .max = 2});
  pass(seconds(5));
  EXPECT_EQ(world_.backend().starts(), 0);
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
  EXPECT_EQ(status("a", "modelStatus.states.activeModelState"), "Standby");
  world_.wake("a");
  act();
  EXPECT_EQ(world_.backend().starts(), 1);
  pass(seconds(5));
  EXPECT_EQ(endpoints("a-predictor-00001"), 1u);
  // Nobody asks again: the grace before zero, then none.
  pass(seconds(40));
  EXPECT_EQ(world_.backend().alive(), 0u);
  EXPECT_EQ(endpoints("a-predictor-00001"), 0u);
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
}

TEST_F(PlatformCoreTest, WhatSleepsIsLookedAtWhenItChanges) {
  world_.apply({.name = "a", .min = 0, .max = 2});
  world_.apply({.name = "b", .min = 0, .max = 2});
  pass(seconds(30));
  const uint64_t settled = world_.store().version();
  pass(seconds(60));
  EXPECT_EQ(world_.store().version(), settled) << "nothing is written of what sleeps";
  world_.apply({.name = "a", .min = 1, .max = 2});
  act();
  EXPECT_EQ(world_.backend().alive(), 1u);
  world_.wake("b");
  act();
  EXPECT_EQ(world_.backend().alive(), 2u);
}

TEST_F(PlatformCoreTest, AllHaveTheirTurnInEachResyncAndNeverAtOnce) {
  constexpr size_t kCount = 60;
  for (size_t i = 0; i < kCount; ++i) {
    world_.apply({.name = "s" + std::to_string(i), .min = 0, .max = 2});
  }
  pass(seconds(30));
  const PlatformTiming timing;
  const std::vector<std::string>& looks = world_.looks_at_services();
  const size_t settled = looks.size();
  size_t most = 0;
  for (Duration passed{}; passed < timing.resync; passed += timing.look) {
    const size_t before = looks.size();
    pass(timing.look);
    most = std::max(most, looks.size() - before);
  }
  const std::set<std::string> seen(looks.begin() + static_cast<std::ptrdiff_t>(settled),
                                   looks.end());
  EXPECT_EQ(seen.size(), kCount);
  EXPECT_LT(looks.size() - settled, 2 * kCount);
  EXPECT_LT(most, kCount / 3);
}

TEST_F(PlatformCoreTest, ATransformerWakesWithItsPredictor) {
  SimulatedService wanted{.name = "a", .min = 0, .max = 2, .memory_mib = 64};
  wanted.transformer = true;
  world_.apply(wanted);
  pass(seconds(5));
  EXPECT_EQ(world_.backend().alive(), 1u) << "it keeps one unless told otherwise";
  wanted.transformer_min = 0;
  world_.apply(wanted);
  pass(seconds(100));  // a stable window, the grace
  EXPECT_EQ(world_.backend().alive(), 0u);
  world_.wake("a");
  act();
  EXPECT_EQ(world_.backend().alive(), 2u);
  pass(seconds(5));
  EXPECT_EQ(endpoints("a-predictor-00001"), 1u);
  pass(seconds(60));
  EXPECT_EQ(world_.backend().alive(), 0u);
}

TEST_F(PlatformCoreTest, LoadScalesByKnativesRule) {
  world_.apply({.name = "a", .min = 0, .max = 6, .memory_mib = 64});
  pass(seconds(3));
  world_.set_load("a", 400);
  pass(seconds(8));
  // 400 requests at once at 70 for each: six.
  EXPECT_EQ(revision_status(*revision("a-predictor-00001")).desired, 6);
  world_.set_load("a", 0);
  pass(seconds(30));
  EXPECT_EQ(revision_status(*revision("a-predictor-00001")).desired, 6) << "it panics";
  pass(seconds(120));
  EXPECT_EQ(world_.backend().alive(), 0u);
}

TEST_F(PlatformCoreTest, WhatCrashesIsStartedAgainWithPausesThatGrow) {
  world_.apply({.name = "a", .flag = "--crash"});
  std::vector<double> pauses;
  int64_t seen = 0;
  double ended = 0;
  while (pauses.size() < 6) {
    world_.step();
    const auto all = replicas();
    if (all.empty()) continue;
    const ReplicaState state = replica_state(*all.front());
    if (state.phase == "Failed") ended = state.exit_unix;
    if (world_.backend().starts() == seen) continue;
    seen = world_.backend().starts();
    if (seen > 1) pauses.push_back(world_.clock().unix_seconds() - ended);
  }
  for (size_t i = 0; i < pauses.size(); ++i) {
    EXPECT_NEAR(pauses[i], 0.01 * static_cast<double>(1 << i), 0.002) << i;
  }
  pass(seconds(1));
  const auto replica = replicas().front();
  pass(seconds(10));
  EXPECT_EQ(condition(service("a"), "PredictorReady"), "False CrashLoopBackOff");
  EXPECT_TRUE(find_condition(*service("a"), "Ready")->message.contains("last words of"));
  EXPECT_EQ(status("a", "modelStatus.transitionStatus"), "BlockedByFailedLoad");
  EXPECT_EQ(status("a", "modelStatus.lastFailureInfo.reason"), "RuntimeUnhealthy");
  EXPECT_EQ(replicas().front()->uid, replica->uid) << "the same replica, again and again";
}

TEST_F(PlatformCoreTest, ANewControllerAdoptsWhatLives) {
  world_.apply({.name = "a", .min = 2, .max = 2});
  pass(seconds(5));
  const auto before = world_.endpoints();
  world_.crash();
  act();
  pass(seconds(70));
  EXPECT_EQ(world_.backend().starts(), 2);
  EXPECT_EQ(world_.endpoints(), before);
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
}

TEST_F(PlatformCoreTest, WhatNoObjectNamesIsDrained) {
  ASSERT_TRUE(world_.backend().start({.id = "default.who", .command = {"x"}}).has_value());
  pass(seconds(30));
  EXPECT_TRUE(world_.backend().list().empty());
}

TEST_F(PlatformCoreTest, ADeletedReplicaIsReplacedBeforeItGoes) {
  world_.apply({.name = "a"});
  pass(seconds(5));
  world_.remove_a_replica();
  act();
  EXPECT_EQ(world_.backend().alive(), 2u);
  EXPECT_EQ(endpoints("a-predictor-00001"), 1u) << "it serves until the other can";
  pass(seconds(10));
  EXPECT_EQ(world_.backend().alive(), 1u);
  EXPECT_EQ(world_.backend().starts(), 2);
  EXPECT_EQ(endpoints("a-predictor-00001"), 1u);
}

TEST_F(PlatformCoreTest, WhatDoesNotFitSaysWhatIsLeft) {
  world_.apply({.name = "a", .memory_mib = 100'000});
  act();
  EXPECT_EQ(world_.backend().starts(), 0);
  EXPECT_EQ(condition(service("a"), "Ready"), "False InsufficientRoom");
  const std::string message = find_condition(*service("a"), "Ready")->message;
  EXPECT_TRUE(message.starts_with("a replica asks for 97.66 GiB")) << message;
  EXPECT_EQ(condition(revision("a-predictor-00001"), "Scheduled"), "False InsufficientRoom");
  EXPECT_TRUE(replicas().empty());
}

TEST_F(PlatformCoreTest, ANewVersionTakesOverWithoutAGap) {
  world_.apply({.name = "a", .version = 1, .min = 2, .max = 2, .memory_mib = 64});
  pass(seconds(5));
  world_.apply({.name = "a", .version = 2, .min = 2, .max = 2, .memory_mib = 64});
  act();
  EXPECT_EQ(status("a", "components.predictor.latestCreatedRevision"), "a-predictor-00002");
  EXPECT_EQ(endpoints("a-predictor-00001"), 2u);
  const TimePoint until = world_.clock().now() + seconds(20);
  while (world_.clock().now() < until) {
    world_.step();
    ASSERT_GE(endpoints("a-predictor-00001") + endpoints("a-predictor-00002"), 2u);
  }
  EXPECT_EQ(endpoints("a-predictor-00002"), 2u);
  EXPECT_EQ(world_.backend().alive(), 2u);
  EXPECT_EQ(status("a", "components.predictor.previousRolledoutRevision"), "a-predictor-00001");
  EXPECT_EQ(revision_status(*revision("a-predictor-00001")).role, RevisionRole::kRetired);
}

TEST_F(PlatformCoreTest, AVersionThatCannotStartTakesNothingAway) {
  world_.apply({.name = "a", .version = 1, .memory_mib = 64});
  pass(seconds(5));
  world_.apply({.name = "a", .version = 2, .flag = "--crash", .memory_mib = 64});
  pass(seconds(60));
  EXPECT_EQ(endpoints("a-predictor-00001"), 1u);
  EXPECT_EQ(endpoints("a-predictor-00002"), 0u);
  EXPECT_EQ(condition(service("a"), "PredictorRouteReady"), "True ");
  EXPECT_EQ(condition(service("a"), "PredictorConfigurationReady"), "False CrashLoopBackOff");
  EXPECT_EQ(condition(service("a"), "LatestDeploymentReady"), "False CrashLoopBackOff");
}

TEST_F(PlatformCoreTest, APromotedCanaryKeepsItsReplicas) {
  SimulatedService wanted{.name = "a", .version = 1, .memory_mib = 64};
  wanted.canary_version = 2;
  wanted.canary_percent = 30;
  world_.apply(wanted);
  pass(seconds(10));
  EXPECT_EQ(world_.backend().starts(), 2);
  const auto* traffic =
      control::array_at(service("a")->body, "status.components.predictor.traffic");
  ASSERT_EQ(traffic->size(), 2u);
  EXPECT_EQ(control::integer_at((*traffic)[1].as_object(), "percent"), 30);
  wanted.canary_version = 0;
  wanted.version = 2;
  world_.apply(wanted);
  pass(seconds(20));
  EXPECT_EQ(world_.backend().starts(), 2) << "nothing was started for it";
  EXPECT_EQ(world_.backend().alive(), 1u);
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
}

TEST_F(PlatformCoreTest, OldRevisionsGoButForTheLastFew) {
  for (int version = 1; version <= 8; ++version) {
    world_.apply({.name = "a", .version = version, .memory_mib = 64});
    pass(seconds(15));
  }
  const auto left = world_.store().list(revision_type(), {}).objects;
  ASSERT_EQ(left.size(), 5u) << "latest, the one before, and three more";
  EXPECT_EQ(left.back()->name, "a-predictor-00008");
}

TEST_F(PlatformCoreTest, AStoppedServiceKeepsItsObjectOnly) {
  world_.apply({.name = "a"});
  pass(seconds(5));
  world_.apply({.name = "a", .stopped = true});
  pass(seconds(10));
  EXPECT_EQ(world_.backend().alive(), 0u);
  EXPECT_EQ(condition(service("a"), "Ready"), "False Stopped");
  world_.apply({.name = "a"});
  pass(seconds(10));
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
}

TEST_F(PlatformCoreTest, ADeletedServiceLeavesNothing) {
  world_.apply({.name = "a", .min = 2, .max = 2});
  pass(seconds(5));
  world_.remove("a");
  pass(seconds(10));
  EXPECT_TRUE(replicas().empty());
  EXPECT_TRUE(world_.backend().list().empty());
  EXPECT_TRUE(world_.store().list(revision_type(), {}).objects.empty());
}

TEST_F(PlatformCoreTest, AModelIsWaitedFor) {
  world_.set_models_slow(true);
  world_.apply({.name = "a"});
  act();
  EXPECT_EQ(condition(service("a"), "Ready"), "Unknown ModelPulling");
  EXPECT_EQ(world_.backend().starts(), 0);
  pass(seconds(10));
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
}

// Of the machine's memory.
int part_of(SimulatedWorld& world, double share) {
  const auto room = static_cast<double>(world.backend().room().memory_bytes);
  return static_cast<int>(room * share / static_cast<double>(kMiB));
}

TEST_F(PlatformCoreTest, ARolloutWithoutRoomSaysSoAndGoesBackInTime) {
  SimulatedService wanted{.name = "a", .version = 1, .max = 1, .memory_mib = part_of(world_, 0.6)};
  wanted.rollout = R"({"strategy":"Progressive","progressDeadlineSeconds":30})";
  world_.apply(wanted);
  pass(seconds(10));
  EXPECT_EQ(condition(service("a"), "RolloutProgressing"), "none");
  wanted.version = 2;
  world_.apply(wanted);
  pass(seconds(10));
  EXPECT_EQ(condition(service("a"), "RolloutProgressing"), "False InsufficientRoom");
  EXPECT_EQ(endpoints("a-predictor-00001"), 1u);
  pass(seconds(30));
  EXPECT_EQ(condition(service("a"), "RolloutProgressing"), "False ProgressDeadlineExceeded");
  EXPECT_EQ(status("a", "sluice.rollout.phase"), "RolledBack");
  EXPECT_EQ(endpoints("a-predictor-00001"), 1u);
  EXPECT_EQ(revision_status(*revision("a-predictor-00002")).role, RevisionRole::kRetired);
  wanted.version = 1;
  world_.apply(wanted);
  pass(seconds(5));
  EXPECT_EQ(condition(service("a"), "RolloutProgressing"), "none");
}

TEST_F(PlatformCoreTest, WhatFitsNoMachineIsNotWaitedFor) {
  SimulatedService wanted{.name = "a", .version = 1, .max = 1, .memory_mib = 64};
  wanted.rollout = kProgressiveRollout;
  world_.apply(wanted);
  pass(seconds(10));
  wanted.version = 2;
  wanted.memory_mib = part_of(world_, 1.5);
  world_.apply(wanted);
  pass(seconds(10));
  EXPECT_EQ(status("a", "sluice.rollout.reason"), "RevisionFailed");
  EXPECT_TRUE(status("a", "sluice.rollout.message").contains("a replica asks for"));
  EXPECT_EQ(endpoints("a-predictor-00001"), 1u);
}

TEST_F(PlatformCoreTest, RecreateNeedsRoomForOneOnly) {
  SimulatedService wanted{.name = "a", .version = 1, .max = 1, .memory_mib = part_of(world_, 0.6)};
  wanted.rollout = R"({"strategy":"Recreate"})";
  world_.apply(wanted);
  pass(seconds(10));
  wanted.version = 2;
  world_.apply(wanted);
  pass(seconds(20));
  EXPECT_EQ(endpoints("a-predictor-00002"), 1u);
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
  wanted.version = 3;
  wanted.flag = "--crash";
  world_.apply(wanted);
  pass(seconds(40));
  EXPECT_EQ(endpoints("a-predictor-00002"), 1u) << "back to the one that worked";
  EXPECT_EQ(status("a", "sluice.rollout.failed"), "a-predictor-00003");
}

TEST_F(PlatformCoreTest, RoomForOneMoreIsEnoughForARollout) {
  for (const std::string_view rollout : {std::string_view(), kProgressiveRollout}) {
    const std::string name = rollout.empty() ? "a" : "b";
    SimulatedService wanted{
        .name = name, .version = 1, .min = 2, .max = 2, .memory_mib = part_of(world_, 0.3)};
    wanted.rollout = rollout;
    world_.apply(wanted);
    pass(seconds(10));
    wanted.version = 2;
    world_.apply(wanted);
    const TimePoint until = world_.clock().now() + seconds(90);
    while (world_.clock().now() < until) {
      world_.step();
      if (status(name, "components.predictor.latestRolledoutRevision").empty()) continue;
      ASSERT_GE(endpoints(name + "-predictor-00001") + endpoints(name + "-predictor-00002"), 2u);
    }
    EXPECT_EQ(endpoints(name + "-predictor-00002"), 2u);
    EXPECT_EQ(endpoints(name + "-predictor-00001"), 0u);
    world_.remove(name);
    pass(seconds(40));
  }
}

TEST_F(PlatformCoreTest, ARevisionKeepsThePredictorAsItWasWritten) {
  SimulatedService wanted{.name = "a", .version = 1, .min = 1, .max = 2, .memory_mib = 64};
  world_.apply(wanted);
  pass(seconds(5));
  const json::object source =
      *control::object_at(revision("a-predictor-00001")->body, "spec.source");
  EXPECT_EQ(source.if_contains("minReplicas"), nullptr);
  wanted.version = 2;
  wanted.min = wanted.max = 2;
  world_.apply(wanted);
  pass(seconds(20));
  json::object body = service("a")->body;
  json::object& predictor = control::object_of(control::object_of(body, "spec"), "predictor");
  predictor = with_template(predictor, source);
  EXPECT_EQ(control::integer_at(predictor, "minReplicas"), 2) << "its scale stays";
  wanted.version = 1;
  EXPECT_TRUE(control::same_json(predictor, json::value(wanted.body()["spec"].at("predictor"))));
  world_.apply(wanted);
  pass(seconds(20));
  EXPECT_EQ(endpoints("a-predictor-00001"), 2u) << "the same revision again";
}

TEST_F(PlatformCoreTest, AGraphIsNotReadyBeforeWhatItNamesIsThere) {
  const auto& type = *control::find_kind("serving.kserve.io/v1alpha1", "InferenceGraph");
  json::object graph{{"apiVersion", type.api_version()},
                     {"kind", type.kind},
                     {"metadata", json::object{{"name", "g"}}}};
  graph["spec"] =
      *parse_json(R"({"nodes":{"root":{"routerType":"Sequence","steps":[{"serviceName":"a"}]}}})");
  const auto told = [&] {
    return find_condition(*world_.store().get({&type, "default", "g"}), "Ready");
  };
  world_.want_problems();
  world_.apply({.name = "b"});
  act();
  ASSERT_TRUE(world_.objects().create(type, "default", std::move(graph),
                                      {.who = {"u", control::Role::kAdmin}, .manager = "t"}));
  const TimePoint until = world_.clock().now() + seconds(3);
  while (world_.clock().now() < until) {
    world_.step();
    ASSERT_FALSE(told() && told()->status == "True") << "nobody has looked yet";
  }
  ASSERT_TRUE(told());
  EXPECT_EQ(told()->reason, "PlanProblem");
  EXPECT_TRUE(told()->message.contains("there is no InferenceService \"a\"")) << told()->message;
  world_.apply({.name = "a"});
  pass(seconds(5));
  EXPECT_EQ(told()->status, "True");
}

}  // namespace
}  // namespace sluice::platform
