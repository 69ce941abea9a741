// The state machine against scripted replicas under a clock turned by hand.
#include "gateway/unbroken_answer.h"

#include <gtest/gtest.h>

#include <vector>

#include "gateway/unbroken_world_test_support.h"

namespace sluice::gateway {
namespace {

using namespace std::chrono_literals;
using api::InternalEvent;
using completion::Delta;
using completion::Request;
using testing::generation_of;
using testing::World;

TEST(UnbrokenAnswer, AnUndisturbedAnswerPassesThrough) {
  World world(generation_of(2, 2));
  world.run_to_end();
  world.sink.expect_whole(world.asked);
  EXPECT_EQ(world.results, std::vector{UseResult::kAnswered});
  EXPECT_EQ(world.sink.usage.cached_tokens, 2);
}

TEST(UnbrokenAnswer, ACutAfterEveryEventIsNotSeen) {
  for (const Loss loss : {Loss::kCut, Loss::kHung, Loss::kFailed}) {
    for (int cut = 0; cut < 60; ++cut) {
      Request request = generation_of(1, 2);
      request.sampling.prompt_logprobs = 0;
      World world(request, {}, 40 + static_cast<uint64_t>(cut));
      ASSERT_EQ(world.open(), 1);
      for (int i = 0; i < cut; ++i) world.deliver(1);
      if (world.answer.over()) break;
      if (loss == Loss::kHung) {
        world.pass(1999ms);
        EXPECT_FALSE(world.live[1].closed);
        world.pass(1ms);
      } else {
        world.lose(1, loss);
      }
      EXPECT_TRUE(world.live[1].closed);
      while (world.deliver(1)) {
      }  // a closed attempt talks on: behind the fence
      world.run_to_end();
      world.sink.expect_whole(world.asked);
      // Whoever had told all of it needs no successor.
      EXPECT_LE(world.attempts, 2);
      if (world.attempts == 2) EXPECT_EQ(world.live[2].replica, "b");
    }
  }
}

TEST(UnbrokenAnswer, AnyNumberOfLossesWithProgressIsSurvived) {
  UnbrokenRules rules;
  rules.resumes = 1000;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Rng rng(seed);
    Request request = generation_of(1 + rng.below(2), 1 + static_cast<int>(rng.below(3)));
    if (rng.chance(0.3)) request.sampling.prompt_logprobs = 1;
    World world(request, rules, seed);
    world.replicas.emplace_back("c", "fp");
    world.replicas.emplace_back("other", "fp2");
    for (int i = 0; i < 5000 && !world.answer.over(); ++i) {
      world.open();
      const int number = world.newest_open();
      if (number == 0) {
        world.pass(5ms);
        continue;
      }
      const bool begun = world.sink.starts > 0;
      if (rng.chance(0.03) && (begun || world.attempts < 2)) {
        world.lose(number, static_cast<Loss>(rng.below(kLosses)));
      } else if (rng.chance(0.02)) {
        world.live[number].events.emplace_front(api::LeavingEvent{});
      } else if (rng.chance(0.02)) {
        world.live[number].events.emplace_front(api::BeatEvent{1});
      } else if (rng.chance(0.02) && begun) {
        world.pass(2s);
      } else if (rng.chance(0.2)) {
        // Someone whose attempt was closed goes on talking.
        world.deliver(1 + static_cast<int>(rng.below(static_cast<uint64_t>(world.attempts))));
      } else {
        world.deliver(number);
      }
    }
    ASSERT_TRUE(world.answer.over()) << seed;
    world.sink.expect_whole(world.asked);
    for (const auto& [number, one] : world.live) {
      EXPECT_TRUE(one.closed) << "an attempt was left open, seed " << seed;
      if (one.request.resume) EXPECT_EQ(one.request.resume->fingerprint, "fp");
    }
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(UnbrokenAnswer, BeforeTheFirstTokenRetriesAreBounded) {
  World world(generation_of());
  world.replicas = {{"a", "fp"}, {"b", "fp"}, {"c", "fp"}, {"d", "fp"}};
  for (int i = 0; i < 100 && !world.answer.over(); ++i) {
    if (const int number = world.open()) {
      EXPECT_FALSE(world.live[number].request.resume);
      world.deliver(number);  // its start is not told
      world.lose(number, Loss::kCut);
    } else {
      world.pass(10ms);
    }
  }
  EXPECT_EQ(world.attempts, 3);
  EXPECT_EQ(world.sink.starts, 0);
  EXPECT_EQ(world.sink.error->code(), Code::kUnavailable);
  EXPECT_EQ(world.observer.refused, 1);
}

TEST(UnbrokenAnswer, SilentReplicasCostNoRetries) {
  World world(generation_of());
  world.replicas = {{"a", "fp"}, {"b", "fp"}, {"c", "fp"}, {"d", "fp"}, {"e", "fp"}};
  for (int i = 0; i < 4; ++i) {
    ASSERT_NE(world.open(), 0);
    world.pass(2s);
  }
  EXPECT_FALSE(world.answer.over());
  world.run_to_end();
  world.sink.expect_whole(world.asked);
  EXPECT_EQ(world.attempts, 5);
}

TEST(UnbrokenAnswer, ARequestBeforeWhichAllFallSilentIsGivenUp) {
  World world(generation_of());
  world.replicas = {{"a", "fp"}, {"b", "fp"}};
  for (int i = 0; i < 100 && !world.answer.over(); ++i) {
    world.open();
    world.pass(2s);
  }
  EXPECT_EQ(world.attempts, 5);
  EXPECT_EQ(world.observer.refused, 1);
}

TEST(UnbrokenAnswer, AnswersThatAnyReplicaWouldGiveAreNotRetried) {
  World world(generation_of());
  world.open();
  world.live[1].events = {InternalEvent(Status(Code::kInvalidArgument, "bad", "stop"))};
  world.deliver(1);
  EXPECT_EQ(world.attempts, 1);
  EXPECT_EQ(world.sink.error->param(), "stop");
  EXPECT_EQ(world.results, std::vector{UseResult::kAnswered});
}

TEST(UnbrokenAnswer, AFullReplicaSendsTheRequestToAnother) {
  World world(generation_of());
  world.open();
  world.live[1].events = {InternalEvent(Status(Code::kResourceExhausted, "full"))};
  world.deliver(1);
  world.run_to_end();
  EXPECT_EQ(world.live[2].replica, "b");
  world.sink.expect_whole(world.asked);
  EXPECT_EQ(world.results.front(), UseResult::kRefused);
}

TEST(UnbrokenAnswer, WhatCouldNotBeSentIsHeldAgainstNobody) {
  World world(generation_of());
  world.open();
  world.lose(1, Loss::kNotSent);
  world.run_to_end();
  world.sink.expect_whole(world.asked);
  EXPECT_EQ(world.results.front(), UseResult::kUntold);
}

TEST(UnbrokenAnswer, WhoeverWasNotLetSpeakIsNotJudged) {
  World world(generation_of());
  world.open();
  world.answer.cancel();
  world.close();
  EXPECT_EQ(world.results, std::vector{UseResult::kUntold});
}

TEST(UnbrokenAnswer, WaitsForAnEqualReplica) {
  World world(generation_of());
  world.replicas = {{"a", "fp"}, {"x", "fp2"}};
  world.open();
  for (int i = 0; i < 5; ++i) world.deliver(1);
  world.replicas = {{"x", "fp2"}};
  world.lose(1, Loss::kCut);
  for (int i = 0; i < 900; ++i) {
    EXPECT_EQ(world.open(), 0);
    world.pass(10ms);
    ASSERT_FALSE(world.answer.over());
  }
  world.replicas.emplace_back("a", "fp");  // it is back
  world.run_to_end();
  world.sink.expect_whole(world.asked);
  EXPECT_GE(world.observer.longest_gap, 9s);
}

TEST(UnbrokenAnswer, GivesUpWhenNoEqualReplicaComes) {
  World world(generation_of());
  world.replicas = {{"a", "fp"}, {"x", "fp2"}};
  world.open();
  for (int i = 0; i < 5; ++i) world.deliver(1);
  world.replicas = {{"x", "fp2"}};
  world.lose(1, Loss::kCut);
  for (int i = 0; i < 1010 && !world.answer.over(); ++i) {
    world.open();
    world.pass(10ms);
  }
  EXPECT_EQ(world.sink.error->reason(), "resume_failed");
  EXPECT_EQ(world.observer.cut, 1);
  EXPECT_EQ(world.sink.ends, 1);
}

TEST(UnbrokenAnswer, GoesOnWithAnotherRevisionWhereAllowed) {
  UnbrokenRules rules;
  rules.other_revision = true;
  World world(generation_of(), rules);
  world.replicas = {{"a", "fp"}, {"x", "fp2"}};
  world.open();
  for (int i = 0; i < 5; ++i) world.deliver(1);
  world.replicas = {{"x", "fp2"}, {"y", "fp2"}};
  world.lose(1, Loss::kCut);
  for (int i = 0; i < 1100 && world.attempts < 2; ++i) {
    world.open();
    world.pass(10ms);
  }
  ASSERT_EQ(world.attempts, 2);
  EXPECT_EQ(world.live[2].request.resume->fingerprint, "");
  EXPECT_EQ(world.observer.attempts[AttemptReason::kOtherRevision], 1);
  for (int i = 0; i < 3; ++i) world.deliver(2);
  world.lose(2, Loss::kCut);
  ASSERT_EQ(world.open(), 3);
  EXPECT_EQ(world.live[3].request.resume->fingerprint, "fp2") << "from here on that one";
  world.run_to_end();
  world.sink.expect_whole(world.asked);
}

TEST(UnbrokenAnswer, ARequestThatKillsItsReplicasIsGivenUp) {
  World world(generation_of());
  world.open();
  for (int i = 0; i < 5; ++i) world.deliver(1);
  world.lose(1, Loss::kCut);
  for (int i = 0; i < 1000 && !world.answer.over(); ++i) {
    if (const int number = world.open()) {
      world.lose(number, Loss::kCut);
    } else {
      world.pass(10ms);
    }
  }
  EXPECT_EQ(world.sink.error->reason(), "resume_failed");
  EXPECT_EQ(world.attempts, 1 + UnbrokenRules().futile_resumes);
}

TEST(UnbrokenAnswer, ALeavingReplicaIsLeftAtOnceOrHeardOut) {
  World moved(generation_of());
  moved.open();
  for (int i = 0; i < 5; ++i) moved.deliver(1);
  moved.live[1].events.emplace_front(api::LeavingEvent{});
  moved.deliver(1);
  ASSERT_EQ(moved.open(), 2);
  EXPECT_TRUE(moved.live[1].closed);
  moved.run_to_end();
  moved.sink.expect_whole(moved.asked);
  EXPECT_EQ(moved.observer.attempts[AttemptReason::kMove], 1);

  World alone(generation_of());
  alone.replicas = {{"a", "fp"}};
  alone.open();
  alone.live[1].events.emplace_front(api::LeavingEvent{});
  alone.run_to_end();
  alone.sink.expect_whole(alone.asked);
  EXPECT_EQ(alone.attempts, 1);
}

TEST(UnbrokenAnswer, TheFasterOfTwoHedgedAttemptsIsTold) {
  UnbrokenRules rules;
  rules.hedge_after = 300ms;
  World world(generation_of(), rules);
  world.open();
  world.deliver(1);  // start, but no token
  world.pass(300ms);
  ASSERT_EQ(world.open(), 2);
  EXPECT_EQ(world.live[2].replica, "b");
  world.deliver(2);
  world.deliver(2);
  EXPECT_TRUE(world.live[1].closed);
  while (world.deliver(1)) {
  }
  world.run_to_end();
  world.sink.expect_whole(world.asked);
  EXPECT_EQ(world.observer.attempts[AttemptReason::kHedge], 1);
}

TEST(UnbrokenAnswer, AHedgeThatIsLostLeavesTheFirst) {
  UnbrokenRules rules;
  rules.hedge_after = 300ms;
  World world(generation_of(), rules);
  world.open();
  world.pass(300ms);
  ASSERT_EQ(world.open(), 2);
  world.lose(2, Loss::kCut);
  EXPECT_FALSE(world.answer.over());
  world.run_to_end();
  world.sink.expect_whole(world.asked);
}

TEST(UnbrokenAnswer, CancelClosesEverythingAndTellsOnce) {
  World world(generation_of());
  world.open();
  for (int i = 0; i < 5; ++i) world.deliver(1);
  world.answer.cancel();
  world.answer.cancel();
  world.close();
  EXPECT_TRUE(world.live[1].closed);
  world.deliver(1);
  EXPECT_EQ(world.sink.ends, 1);
  EXPECT_EQ(world.sink.error->code(), Code::kCancelled);
  EXPECT_EQ(world.answer.wake_at(), TimePoint::max());
}

TEST(UnbrokenAnswer, ItsOwnSleepIsNobodysSilence) {
  World world(generation_of());
  world.open();
  for (int i = 0; i < 5; ++i) world.deliver(1);
  world.now += 1h;
  world.answer.overslept(world.now);
  world.pass(1ms);
  world.run_to_end();
  world.sink.expect_whole(world.asked);
  EXPECT_EQ(world.attempts, 1);
}

TEST(UnbrokenAnswer, TheDeadlineEndsAWait) {
  Request request = generation_of();
  request.deadline = TimePoint{1h} + 500ms;
  World world(request);
  world.replicas.clear();
  for (int i = 0; i < 100 && !world.answer.over(); ++i) {
    world.open();
    world.pass(10ms);
  }
  EXPECT_EQ(world.sink.error->code(), Code::kDeadlineExceeded);
}

TEST(UnbrokenAnswer, AReplicaThatTellsNonsenseIsLost) {
  const auto after = [](std::vector<InternalEvent> events) {
    World world(generation_of());
    world.open();
    world.live[1].events.assign(std::make_move_iterator(events.begin()),
                                std::make_move_iterator(events.end()));
    while (world.deliver(1)) {
    }
    EXPECT_TRUE(world.live[1].closed);
    world.run_to_end();
    world.sink.expect_whole(world.asked);
    EXPECT_EQ(world.observer.losses[Loss::kFailed], 1);
  };
  Delta far;
  far.choice = 9;
  api::StartEvent start{.fingerprint = "fp", .max_model_len = 512, .seed = 1, .info = {}};
  start.info.tokens = {{1, 2, 3}};
  after({far});
  after({start, start});
  after({start, far});
  after({start, completion::Usage{}});
  after({start, api::PromptLogprobsEvent{3, {}}});
}

}  // namespace
}  // namespace sluice::gateway
