// The autoscaling rule, its window and the signals in front of it: docs/autoscaling.md by example.
#include "control/kpa.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "control/load_signals.h"
#include "control/load_window.h"

namespace sluice::control {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A service whose load is given second by second, and whose replicas are what they are said to be.
class Service {
 public:
  explicit Service(KpaOptions options) : kpa(check_options(options).value()) {}

  // `length` seconds of `load`, with a decision every tick; the last one.
  KpaDecision run(int length, double load, int ready) {
    KpaDecision last;
    for (int i = 0; i < length; ++i) {
      ++now;
      EXPECT_TRUE(kpa.record(seconds(now), seconds(now - 1), load));
      if (now % kpa.options().tick.count() == 0) last = kpa.decide(seconds(now), ready);
    }
    return last;
  }

  // The same with replicas that follow at once.
  KpaDecision follow(int length, double load) {
    KpaDecision last;
    for (int i = 0; i < length; i += 2) {
      last = run(2, load, replicas);
      replicas = static_cast<int>(last.desired);
    }
    return last;
  }

  Kpa kpa;
  int now = 0;
  int replicas = 1;
};

// One replica takes 10; nothing else stands in the way.
KpaOptions ten() { return {.target = 10, .panic_threshold = 1000}; }

TEST(LoadWindow, AveragesSinceTheFirstSample) {
  LoadWindow window(seconds(10));
  EXPECT_FALSE(window.average(seconds(100), seconds(10)));
  EXPECT_TRUE(window.add(seconds(100), seconds(96), 4));
  EXPECT_TRUE(window.add(seconds(100), seconds(98), 8));
  EXPECT_EQ(window.average(seconds(100), seconds(10)), 3) << "12 in 4 seconds";
  EXPECT_EQ(window.average(seconds(100), seconds(3)), 8.0 / 3);
  EXPECT_EQ(window.average(seconds(105), seconds(10)), 12.0 / 9);
  EXPECT_EQ(window.average(seconds(107), seconds(10)), 8.0 / 10);
  EXPECT_FALSE(window.average(seconds(109), seconds(10)));
  EXPECT_FALSE(window.average(seconds(100), seconds(1)));
}

TEST(LoadWindow, AnEarlierSecondThatComesLaterIsTheFirst) {
  LoadWindow window(seconds(10));
  EXPECT_TRUE(window.add(seconds(20), seconds(19), 6));
  EXPECT_EQ(window.average(seconds(20), seconds(10)), 6);
  EXPECT_TRUE(window.add(seconds(20), seconds(17), 3));
  EXPECT_EQ(window.average(seconds(20), seconds(10)), 3);
}

TEST(LoadWindow, TakesOnlyWholeSecondsItStillHoldsAndLoads) {
  LoadWindow window(seconds(5));
  EXPECT_FALSE(window.add(seconds(10), seconds(10), 1)) << "not over";
  EXPECT_FALSE(window.add(seconds(10), seconds(11), 1));
  EXPECT_FALSE(window.add(seconds(10), seconds(4), 1)) << "too old";
  for (const double bad : {-1.0, 2e12, HUGE_VAL, std::nan("")}) {
    EXPECT_FALSE(window.add(seconds(10), seconds(9), bad)) << bad;
  }
  EXPECT_FALSE(window.average(seconds(10), seconds(5)));
  EXPECT_TRUE(window.add(seconds(10), seconds(5), 1));
  EXPECT_TRUE(window.add(seconds(10), seconds(5), 2)) << "replaced";
  EXPECT_EQ(window.average(seconds(10), seconds(5)), 2.0 / 5);
}

TEST(LoadWindow, SecondsBeforeTheEpochAreSeconds) {
  LoadWindow window(seconds(5));
  for (int s = -7; s < 2; ++s) EXPECT_TRUE(window.add(seconds(s + 1), seconds(s), s + 100));
  EXPECT_EQ(window.average(seconds(2), seconds(5)), 99);
}

TEST(LoadWindow, AnotherSpanKeepsWhatItHolds) {
  LoadWindow window(seconds(4));
  for (int s = 0; s < 4; ++s) EXPECT_TRUE(window.add(seconds(4), seconds(s), s));
  window.resize(seconds(9), seconds(4));
  EXPECT_EQ(window.average(seconds(4), seconds(9)), 6.0 / 4);
  window.resize(seconds(2), seconds(4));
  EXPECT_EQ(window.average(seconds(4), seconds(2)), 2.5);
  EXPECT_EQ(window.span(), seconds(2));
}

TEST(KpaOptions, DefaultsAreTheDocumentedOnes) {
  const KpaOptions options;
  EXPECT_EQ(options.target, 70);
  EXPECT_EQ(options.panic_window, panic_window_of(options.stable_window));
  EXPECT_EQ(panic_window_of(seconds(6)), seconds(1));
  EXPECT_EQ(panic_window_of(seconds(119)), seconds(11));
  EXPECT_TRUE(check_options(options));
}

TEST(KpaOptions, WrongOnesAreRefusedByName) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<std::pair<std::string, KpaOptions>> wrong = {
      {"target", {.target = 0}},
      {"target", {.target = nan}},
      {"stable_window", {.stable_window = seconds(5)}},
      {"stable_window", {.stable_window = seconds(3601)}},
      {"panic_window", {.panic_window = seconds(0)}},
      {"panic_window", {.panic_window = seconds(61)}},
      {"panic_threshold", {.panic_threshold = 1}},
      {"tick", {.tick = seconds(0)}},
      {"max_scale_up_rate", {.max_scale_up_rate = 1}},
      {"max_scale_up_rate", {.max_scale_up_rate = HUGE_VAL}},
      {"max_scale_down_rate", {.max_scale_down_rate = 1}},
      {"scale_to_zero_grace", {.scale_to_zero_grace = seconds(-1)}},
      {"scale_down_delay", {.scale_down_delay = seconds(3601)}},
      {"min_scale", {.min_scale = -1}},
      {"max_scale", {.min_scale = 3, .max_scale = 2}},
      {"initial_scale", {.max_scale = 2, .initial_scale = 3}},
      {"capacity", {.capacity = 0}},
      {"burst_target", {.burst_target = -2}},
      {"burst_target", {.burst_target = -0.5}},
  };
  for (const auto& [name, options] : wrong) {
    const auto checked = check_options(options);
    ASSERT_FALSE(checked) << name;
    EXPECT_EQ(checked.error().param(), name);
    EXPECT_NE(checked.error().message().find(", found "), std::string::npos);
  }
}

TEST(Kpa, WantsTheLoadOverTheTargetRoundedUp) {
  EXPECT_EQ(Service(ten()).run(60, 35, 1).desired, 4);
  EXPECT_EQ(Service(ten()).run(60, 30, 1).desired, 3);
  EXPECT_EQ(Service(ten()).run(60, 30.001, 1).desired, 4);
}

TEST(Kpa, ABurstPanics) {
  Service service({});
  const KpaDecision calm = service.run(60, 70, 1);
  EXPECT_EQ(calm.desired, 1);
  EXPECT_FALSE(calm.panicking);
  const KpaDecision burst = service.run(6, 400, 1);
  EXPECT_TRUE(burst.panicking);
  EXPECT_EQ(burst.desired, 6);
  EXPECT_EQ(burst.panic_average, 400);
}

TEST(Kpa, PanicNeverFallsAndEndsAStableWindowAfterTheThreshold) {
  Service service({});
  service.follow(60, 70);
  EXPECT_EQ(service.follow(6, 400).desired, 6);
  const int last_over = 62;  // 2 s of 400 and 4 of 70 want 3 with 1 ready; then 4 and 6 with more
  for (int now = service.now + 2; now < last_over + 60; now += 2) {
    const KpaDecision decision = service.follow(2, 0);
    ASSERT_TRUE(decision.panicking) << now;
    ASSERT_EQ(decision.desired, 6) << now;
  }
  const KpaDecision after = service.follow(2, 0);
  EXPECT_EQ(service.now, last_over + 60);
  EXPECT_FALSE(after.panicking);
  EXPECT_EQ(after.desired, 3) << "not below half of the 6 in one decision";
}

TEST(Kpa, ATickOverTheThresholdExtendsThePanic) {
  Service service({});
  service.run(60, 70, 1);
  service.run(2, 400, 1);
  EXPECT_TRUE(service.run(40, 0, 3).panicking);
  EXPECT_TRUE(service.run(6, 420, 3).panicking);
  EXPECT_TRUE(service.run(40, 0, 6).panicking) << "62 + 60 is past, 108 + 60 is not";
}

TEST(Kpa, ANewPanicForgetsTheMostOfTheOneBefore) {
  Service service({});
  service.follow(60, 70);
  EXPECT_EQ(service.follow(6, 1400).desired, 20);
  EXPECT_EQ(service.follow(120, 70).desired, 1);
  const KpaDecision again = service.follow(6, 140);
  EXPECT_TRUE(again.panicking);
  EXPECT_EQ(again.desired, 2);
}

TEST(Kpa, ReadyReplicasBoundBothDirections) {
  KpaOptions options = ten();
  options.max_scale_up_rate = 1.5;
  EXPECT_EQ(Service(options).run(60, 1000, 3).desired, 5) << "ceil(4.5)";
  EXPECT_EQ(Service(options).run(60, 1000, 0).desired, 2) << "as with one";
  EXPECT_EQ(Service(options).run(60, 0, 7).desired, 3) << "floor(3.5)";
  options.max_scale_down_rate = 10;
  EXPECT_EQ(Service(options).run(60, 1, 7).desired, 1);
}

TEST(Kpa, FallsByHalvesAndToZeroAfterTheGrace) {
  Service service({.max_scale = 10});
  service.replicas = 10;
  EXPECT_EQ(service.follow(2, 0).desired, 5);
  EXPECT_EQ(service.follow(2, 0).desired, 2);
  EXPECT_EQ(service.follow(2, 0).desired, 1);
  // The first tick that gives 0 is at 8.
  EXPECT_EQ(service.follow(30, 0).desired, 1);
  EXPECT_EQ(service.now, 36);
  EXPECT_EQ(service.follow(2, 0).desired, 0);
  EXPECT_EQ(service.follow(200, 0).desired, 0);
}

TEST(Kpa, LoadBreaksTheGrace) {
  KpaOptions options = ten();
  options.stable_window = seconds(6);
  Service service(options);
  service.run(6, 1, 1);
  EXPECT_EQ(service.run(34, 0, 1).desired, 1) << "zero since 12";
  EXPECT_EQ(service.run(2, 1, 1).desired, 1);
  EXPECT_EQ(service.run(34, 0, 1).desired, 1) << "zero since 48";
  EXPECT_EQ(service.run(2, 0, 1).desired, 0);
  EXPECT_EQ(service.now, 78);
}

TEST(Kpa, WithoutAGraceZeroIsZero) {
  KpaOptions options = ten();
  options.scale_to_zero_grace = seconds(0);
  Service service(options);
  service.run(2, 5, 1);
  EXPECT_EQ(service.run(60, 0, 1).desired, 0);
}

TEST(Kpa, AtZeroItStaysAndLoadWakesIt) {
  KpaOptions options = ten();
  options.initial_scale = 0;
  Service service(options);
  EXPECT_EQ(service.kpa.decide(seconds(0), 0).desired, 0);
  EXPECT_EQ(service.run(2, 0, 0).desired, 0);
  EXPECT_EQ(service.run(60, 0, 0).desired, 0);
  EXPECT_EQ(service.run(2, 1, 0).desired, 1);
  // A replica that is not ready yet does not make it fall back at once.
  EXPECT_EQ(service.run(60, 0, 0).desired, 1);
}

TEST(Kpa, TheLargestOfTheDelayIsKept) {
  KpaOptions options = ten();
  options.stable_window = options.panic_window = seconds(6);
  options.scale_down_delay = seconds(20);
  Service service(options);
  EXPECT_EQ(service.run(6, 60, 6).desired, 6);
  EXPECT_EQ(service.run(18, 10, 6).desired, 6) << "18 s after the last 6";
  EXPECT_EQ(service.run(2, 10, 6).desired, 5) << "that of the tick at 8";
}

TEST(Kpa, TheDelayEnds) {
  KpaOptions options = ten();
  options.stable_window = options.panic_window = seconds(6);
  options.scale_down_delay = seconds(20);
  Service service(options);
  service.run(6, 40, 4);
  for (const int64_t desired : {4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 2, 2}) {
    EXPECT_EQ(service.run(2, 10, 4).desired, desired) << service.now;
  }
}

TEST(Kpa, BoundsHold) {
  KpaOptions options = ten();
  options.min_scale = 2;
  options.max_scale = 5;
  Service service(options);
  EXPECT_EQ(service.kpa.decide(seconds(0), 0).desired, 2) << "before any load";
  EXPECT_EQ(service.run(60, 1000, 1).desired, 5);
  EXPECT_EQ(service.run(200, 0, 3).desired, 2) << "never to zero";
}

TEST(Kpa, TheInitialScaleHoldsUntilItWasReached) {
  KpaOptions options = ten();
  options.initial_scale = 4;
  Service service(options);
  EXPECT_EQ(service.run(60, 10, 3).desired, 4);
  EXPECT_EQ(service.run(2, 10, 4).desired, 2) << "floor(4 / 2)";
  EXPECT_EQ(service.run(2, 10, 1).desired, 1);
}

TEST(Kpa, TheInitialScaleIsReachedAtATickWithoutAnAverage) {
  KpaOptions options = ten();
  options.initial_scale = 4;
  Service service(options);
  EXPECT_EQ(service.kpa.decide(seconds(0), 4).desired, 4);
  EXPECT_EQ(service.run(2, 10, 1).desired, 1);
}

TEST(Kpa, WithoutAnAverageNothingChanges) {
  Service service({});
  service.follow(60, 70);
  ASSERT_EQ(service.follow(6, 400).desired, 6);
  const KpaDecision before = service.run(2, 0, 6);
  // No samples: the panic window is empty at 74, long before the stable one.
  for (int now = 74; now < 400; now += 2) {
    const KpaDecision decision = service.kpa.decide(seconds(now), 6);
    EXPECT_EQ(decision.desired, before.desired);
    EXPECT_TRUE(decision.panicking);
    EXPECT_FALSE(decision.spare || decision.stable_average || decision.panic_average);
  }
}

TEST(Kpa, SpareBurstCapacity) {
  EXPECT_EQ(Service({}).run(60, 4, 1).spare, -115);
  EXPECT_EQ(Service({}).run(60, 0.5, 3).spare, 88) << "floor(88.5)";
  EXPECT_EQ(Service({}).run(60, 4, 0).spare, -115) << "as with one";
  EXPECT_FALSE(Service({.burst_target = 0}).run(60, 4, 1).spare);
  EXPECT_FALSE(Service({.burst_target = -1}).run(60, 4, 1).spare);
}

TEST(Kpa, HoldsWithoutRoomForABurst) {
  EXPECT_TRUE(Service({}).run(60, 4, 2).hold);
  EXPECT_FALSE(Service({}).run(60, 89, 3).hold) << "a spare of 0";
  EXPECT_TRUE(Service({}).run(60, 89.5, 3).hold);
  EXPECT_FALSE(Service({.burst_target = 0}).run(60, 4000, 1).hold);
  EXPECT_TRUE(Service({.burst_target = 0}).run(60, 4, 0).hold);
  EXPECT_TRUE(Service({.burst_target = -1}).run(60, 4, 50).hold);

  Service service({});
  EXPECT_TRUE(service.kpa.decide(seconds(0), 50).hold) << "nothing is known yet";
  service.run(10, 0, 3);
  EXPECT_FALSE(service.kpa.decide(seconds(100), 3).hold) << "as before";
}

TEST(Kpa, ARunningServiceIsTakenOverWithoutAFall) {
  Service service({.initial_scale = 3});
  service.kpa.resume(seconds(0), 8);
  EXPECT_EQ(service.kpa.decide(seconds(0), 8).desired, 8);
  EXPECT_EQ(service.run(58, 10, 8).desired, 8);
  EXPECT_EQ(service.run(2, 10, 8).desired, 4);
  EXPECT_EQ(service.run(2, 10, 1).desired, 1) << "no initial scale again";
}

TEST(Kpa, NewOptionsKeepSamples) {
  Service service(ten());
  service.run(60, 35, 1);
  KpaOptions options = ten();
  options.target = 5;
  options.stable_window = seconds(30);
  service.kpa.configure(options, seconds(service.now));
  const KpaDecision decision = service.kpa.decide(seconds(service.now), 1);
  EXPECT_EQ(decision.stable_average, 35);
  EXPECT_EQ(decision.desired, 7);
}

TEST(LoadSignals, QueuedTokens) {
  EXPECT_EQ(queued_token_load(6000, 2000, 9), 3);
  EXPECT_EQ(queued_token_load(0, 2000, 0), 0);
  EXPECT_EQ(queued_token_load(0, 2000, 1), kLeastBusyLoad) << "an answer under way";
  EXPECT_EQ(queued_token_load(-5, 2000, 0), 0);
}

TEST(LoadSignals, KvUse) {
  const std::array<KvUse, 3> replicas = {{{500, 1000}, {2000, 2000}, {0, 0}}};
  EXPECT_DOUBLE_EQ(kv_load(replicas, 0, 0.75, 3), 2);
  EXPECT_DOUBLE_EQ(kv_load(replicas, 1500, 0.5, 3), 5) << "1500 more is an average replica";
  EXPECT_EQ(kv_load({}, 1500, 0.5, 3), kLeastBusyLoad) << "woken by what waits";
  EXPECT_EQ(kv_load({}, 0, 0.5, 0), 0);
}

TEST(LoadSignals, TimeToFirstToken) {
  const auto target = milliseconds(500);
  const std::array<FirstToken, 2> seen = {{{milliseconds(250), 4}, {milliseconds(1000), 4}}};
  EXPECT_DOUBLE_EQ(first_token_load(seen, target, 2), 5) << "(0.5 + 2) / 2 of 4 replicas";
  const std::array<FirstToken, 1> stuck = {{{seconds(600), 0}}};
  EXPECT_EQ(first_token_load(stuck, target, 1), kMaxLateness);
  EXPECT_EQ(first_token_load({}, target, 0), 0);
  EXPECT_EQ(first_token_load({}, target, 7), kLeastBusyLoad);
}

TEST(LoadSignals, ALateFirstTokenDoesNotMultiplyReplicasThatCameSince) {
  const std::array<FirstToken, 1> old = {{{seconds(2), 1}}};
  KpaOptions options = {.target = kDefaultUtilization, .capacity = 1, .burst_target = 0};
  Service service(options);
  for (const int ready : {1, 6, 6, 6}) {
    const double load = first_token_load(old, milliseconds(500), 1);
    EXPECT_EQ(service.run(6, load, ready).desired, 6) << "ceil(4 / 0.7)";
  }
}

}  // namespace
}  // namespace sluice::control
