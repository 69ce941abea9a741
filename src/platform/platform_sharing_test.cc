// Services that share a process: how they come to it, are served meanwhile, and leave it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "platform/platform_core_test_support.h"
#include "platform/process_sharing.h"

namespace sluice::platform {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class PlatformSharingTest : public PlatformCoreTest {
 protected:
  static SimulatedService sharing(const std::string& name, int min = 1, int max = 1) {
    SimulatedService service{.name = name, .min = min, .max = max, .memory_mib = 64};
    service.shares = true;
    return service;
  }
  std::string stable(const std::string& name) { return status(name, "sluice.rollout.stable"); }
  std::string models(const std::string& revision_name) {
    const auto found = revision(revision_name);
    std::string text;
    for (const SharedModel& each :
         found ? shared_models(spec_of(*found)) : std::vector<SharedModel>()) {
      text += (text.empty() ? "" : " ") + each.name;
    }
    return text;
  }
  std::string message(const std::string& name, std::string_view type) {
    const auto found = find_condition(*service(name), type);
    return found ? found->message : "none";
  }
  // Steps on, and sees that these are served all the time.
  void pass_serving(Duration time, const std::vector<std::string>& names) {
    const TimePoint until = world_.clock().now() + time;
    while (world_.clock().now() < until) {
      world_.step();
      for (const std::string& name : names) ASSERT_GE(world_.usable(name), 1u) << name;
    }
    act();
  }
};

TEST_F(PlatformSharingTest, SeveralServicesAreOneProcess) {
  for (const char* name : {"c", "a", "b"}) world_.apply(sharing(name));
  pass(seconds(6));
  EXPECT_EQ(world_.backend().starts(), 1) << "who comes together makes one revision";
  EXPECT_EQ(world_.backend().alive(), 1u);
  EXPECT_EQ(models("a-predictor-00001"), "a b c");
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_EQ(stable(name), "a-predictor-00001") << "of one age the first by name leads";
    EXPECT_EQ(world_.usable(name), 1u) << name;
    EXPECT_EQ(status(name, "sluice.leader"), "a");
    EXPECT_EQ(status(name, "url"), std::string("http://") + name);
    EXPECT_EQ(status(name, "modelStatus.states.activeModelState"), "Loaded");
  }
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
  EXPECT_EQ(condition(service("b"), "Ready"), "True ProcessShared");
  EXPECT_EQ(message("b", "Ready"), "served by the process of a");
  EXPECT_EQ(condition(service("a"), "ProcessShared"), "True Leader");
  EXPECT_EQ(message("a", "ProcessShared"), "its process serves b, c too");
  EXPECT_EQ(condition(service("b"), "ProcessShared"), "True Member");
  EXPECT_EQ(message("b", "ProcessShared"), "served by the process of a, with c");
}

TEST_F(PlatformSharingTest, OneThatComesAndOneThatGoesAreNotNoticedByTheOthers) {
  world_.apply(sharing("a"));
  pass(seconds(6));
  EXPECT_EQ(condition(service("a"), "ProcessShared"), "True Alone");
  world_.apply(sharing("b"));
  pass_serving(seconds(8), {"a"});
  EXPECT_EQ(stable("b"), "a-predictor-00002");
  EXPECT_EQ(models("a-predictor-00002"), "a b");
  EXPECT_EQ(world_.backend().alive(), 1u);
  world_.apply(sharing("c"));
  pass_serving(seconds(8), {"a", "b"});
  world_.remove("b");
  pass_serving(seconds(8), {"a", "c"});
  EXPECT_EQ(stable("a"), stable("c"));
  EXPECT_EQ(models(stable("a")), "a c");
  EXPECT_EQ(world_.backend().alive(), 1u);
}

TEST_F(PlatformSharingTest, TheNextOneLeadsWhenTheLeaderGoes) {
  for (const char* name : {"a", "b", "c"}) world_.apply(sharing(name));
  pass(seconds(6));
  world_.remove("a");
  pass_serving(seconds(8), {"b", "c"});
  EXPECT_EQ(stable("b"), "b-predictor-00002");
  EXPECT_EQ(stable("c"), "b-predictor-00002");
  EXPECT_EQ(models("b-predictor-00002"), "b c");
  EXPECT_EQ(status("c", "sluice.leader"), "b");
  EXPECT_EQ(world_.backend().alive(), 1u);
  EXPECT_EQ(condition(service("b"), "Ready"), "True ");
  // Another one of its name is the youngest.
  world_.apply(sharing("a"));
  pass_serving(seconds(8), {"b", "c"});
  EXPECT_EQ(models(stable("a")), "a b c");
  EXPECT_EQ(status("a", "sluice.leader"), "b");
  for (const char* name : {"a", "b", "c"}) world_.remove(name);
  pass(seconds(10));
  EXPECT_TRUE(replicas().empty());
  EXPECT_TRUE(world_.store().list(revision_type(), {}).objects.empty());
}

TEST_F(PlatformSharingTest, OneThatLeavesIsServedByTheOthersUntilItsOwnProcessIsReady) {
  for (const char* name : {"a", "b", "c"}) world_.apply(sharing(name));
  pass(seconds(6));
  SimulatedService own = sharing("a");
  own.shares = false;
  world_.apply(own);
  pass_serving(seconds(12), {"a", "b", "c"});
  EXPECT_EQ(stable("a"), "a-predictor-00002");
  EXPECT_EQ(models(stable("a")), "");
  EXPECT_EQ(condition(service("a"), "ProcessShared"), "none");
  EXPECT_EQ(models(stable("b")), "b c");
  EXPECT_EQ(stable("c"), stable("b"));
  EXPECT_EQ(world_.backend().alive(), 2u);
  // And back, now as what came last.
  world_.apply(sharing("a"));
  pass_serving(seconds(12), {"a", "b", "c"});
  EXPECT_EQ(models(stable("b")), "a b c");
  EXPECT_EQ(world_.backend().alive(), 1u);
}

TEST_F(PlatformSharingTest, OtherArgumentsAreAnotherProcess) {
  for (const char* name : {"a", "b", "c"}) world_.apply(sharing(name));
  pass(seconds(6));
  SimulatedService other = sharing("a");
  other.flag = "--other";
  world_.apply(other);
  pass_serving(seconds(12), {"a", "b", "c"});
  EXPECT_EQ(models(stable("a")), "a");
  EXPECT_EQ(models(stable("b")), "b c");
  EXPECT_EQ(condition(service("a"), "ProcessShared"), "True Alone");
  EXPECT_TRUE(message("a", "ProcessShared").contains("b has another container.args"))
      << message("a", "ProcessShared");
  for (const char* name : {"b", "c"}) {
    other.name = name;
    world_.apply(other);
    pass_serving(milliseconds(700), {"a", "b", "c"});
  }
  pass_serving(seconds(12), {"a", "b", "c"});
  EXPECT_EQ(models(stable("a")), "a b c");
  EXPECT_EQ(world_.backend().alive(), 1u);
}

TEST_F(PlatformSharingTest, ANewModelOfOneTakesOverForIt) {
  for (const char* name : {"a", "b"}) world_.apply(sharing(name));
  pass(seconds(6));
  SimulatedService next = sharing("b");
  next.version = 2;
  world_.apply(next);
  pass_serving(seconds(8), {"a", "b"});
  EXPECT_EQ(shared_uri(spec_of(*revision(stable("b"))), "b"), "hf://owner/b-2");
  EXPECT_EQ(stable("a"), stable("b"));
  EXPECT_EQ(world_.backend().alive(), 1u);
}

TEST_F(PlatformSharingTest, AModelThatIsNotHereKeepsNobodyWaiting) {
  world_.apply(sharing("a"));
  pass(seconds(6));
  world_.set_models_slow(true);
  SimulatedService slow = sharing("b");
  world_.apply(slow);
  pass_serving(seconds(2), {"a"});
  EXPECT_EQ(condition(service("b"), "Ready"), "Unknown ModelPulling");
  EXPECT_EQ(condition(service("a"), "Ready"), "True ");
  EXPECT_EQ(world_.backend().starts(), 1);
  pass_serving(seconds(10), {"a"});
  EXPECT_EQ(condition(service("b"), "Ready"), "True ProcessShared");
  // A new one is waited for by what runs the one before.
  slow.version = 2;
  world_.apply(slow);
  pass_serving(seconds(2), {"a", "b"});
  EXPECT_EQ(models(stable("b")), "a b");
  pass_serving(seconds(10), {"a", "b"});
  EXPECT_EQ(shared_uri(spec_of(*revision(stable("b"))), "b"), "hf://owner/b-2");
}

TEST_F(PlatformSharingTest, AModelThatCannotBeReadIsToldAndKeepsNobodyWaiting) {
  for (const char* name : {"a", "b"}) world_.apply(sharing(name));
  world_.set_unreadable("hf://owner/b-1");
  pass(seconds(6));
  EXPECT_EQ(condition(service("b"), "Ready"), "False ModelLoadFailed");
  EXPECT_EQ(message("b", "Ready"), "the file is cut off");
  EXPECT_EQ(status("b", "modelStatus.lastFailureInfo.reason"), "ModelLoadFailed");
  EXPECT_EQ(models(stable("a")), "a");
  // Another file in its place is found.
  world_.set_unreadable("");
  pass_serving(seconds(20), {"a"});
  EXPECT_EQ(condition(service("b"), "Ready"), "True ProcessShared");
  // What runs goes on with the model before.
  world_.set_unreadable("hf://owner/b-2");
  SimulatedService next = sharing("b");
  next.version = 2;
  world_.apply(next);
  pass_serving(seconds(10), {"a", "b"});
  EXPECT_EQ(shared_uri(spec_of(*revision(stable("b"))), "b"), "hf://owner/b-1");
  EXPECT_TRUE(condition(service("b"), "PredictorReady").contains("ModelLoadFailed"))
      << condition(service("b"), "PredictorReady");
}

TEST_F(PlatformSharingTest, AModelThatIsLargerThanAllMayTakeIsToldAndKeepsNobodyWaiting) {
  for (const char* name : {"a", "b"}) world_.apply(sharing(name));
  world_.set_large("hf://owner/b-1");
  pass(seconds(6));
  EXPECT_EQ(condition(service("b"), "Ready"), "False ModelLoadFailed");
  EXPECT_TRUE(message("b", "Ready")
                  .contains("take 49.0 MiB of memory, and all models of the "
                            "process may take 48.0 MiB"))
      << message("b", "Ready");
  EXPECT_EQ(models(stable("a")), "a");
  world_.set_large("");
  pass_serving(seconds(20), {"a"});
  EXPECT_EQ(condition(service("b"), "Ready"), "True ProcessShared");
}

TEST_F(PlatformSharingTest, WhatCannotBeSharedRunsAlone) {
  world_.apply(sharing("a"));
  SimulatedService steps = sharing("b");
  steps.rollout = R"({"strategy":"BlueGreen"})";
  world_.apply(steps);
  pass(seconds(6));
  EXPECT_EQ(world_.backend().alive(), 2u);
  EXPECT_EQ(condition(service("b"), "Ready"), "True ");
  EXPECT_EQ(condition(service("b"), "ProcessShared"), "False NotShareable");
  EXPECT_TRUE(message("b", "ProcessShared").starts_with("spec.sluice.rollout: "));
}

TEST_F(PlatformSharingTest, ItHasAsManyReplicasAsTheLargestAsksFor) {
  world_.apply(sharing("a", 1, 2));
  world_.apply(sharing("b", 2, 5));
  pass(seconds(8));
  const RevisionStatus both = revision_status(*revision(stable("a")));
  EXPECT_EQ(both.floor, 2);
  EXPECT_EQ(both.ceiling, 5);
  EXPECT_EQ(world_.usable("a"), 2u);
  // The load of both counts, at 70 for each replica.
  world_.set_load("a", 100);
  world_.set_load("b", 160);
  pass(seconds(10));
  EXPECT_EQ(revision_status(*revision(stable("a"))).desired, 4);
}

TEST_F(PlatformSharingTest, ItSleepsWhenAllOfThemAreIdle) {
  for (const char* name : {"a", "b"}) world_.apply(sharing(name, 0, 2));
  pass(seconds(6));
  world_.set_load("b", 5);
  pass(seconds(6));
  EXPECT_EQ(world_.backend().alive(), 1u);
  pass(seconds(150));
  EXPECT_EQ(world_.backend().alive(), 1u) << "one of them is busy";
  world_.set_load("b", 0);
  pass(seconds(150));
  EXPECT_EQ(world_.backend().alive(), 0u);
  EXPECT_EQ(condition(service("b"), "Ready"), "True ProcessShared");
  world_.wake("b");
  pass(seconds(4));
  EXPECT_EQ(world_.backend().alive(), 1u);
  EXPECT_EQ(world_.usable("a"), 1u);
}

TEST_F(PlatformSharingTest, AStoppedOneIsNotServedAndTheOthersAre) {
  for (const char* name : {"a", "b"}) world_.apply(sharing(name));
  pass(seconds(6));
  SimulatedService stopped = sharing("a");
  stopped.stopped = true;
  world_.apply(stopped);
  pass_serving(seconds(6), {"b"});
  EXPECT_EQ(world_.usable("a"), 0u);
  EXPECT_EQ(condition(service("a"), "Ready"), "False Stopped");
  EXPECT_EQ(world_.backend().starts(), 1) << "its model takes no memory while nobody asks";
  stopped.name = "b";
  world_.apply(stopped);
  pass(seconds(10));
  EXPECT_EQ(world_.backend().alive(), 0u);
  world_.apply(sharing("a"));
  pass(seconds(8));
  EXPECT_EQ(world_.usable("a"), 1u);
  EXPECT_EQ(world_.usable("b"), 0u);
}

TEST_F(PlatformSharingTest, ANewControllerKeepsTheProcess) {
  for (const char* name : {"a", "b"}) world_.apply(sharing(name));
  pass(seconds(6));
  world_.crash();
  pass_serving(seconds(70), {"a", "b"});
  EXPECT_EQ(world_.backend().starts(), 1);
}

}  // namespace
}  // namespace sluice::platform
