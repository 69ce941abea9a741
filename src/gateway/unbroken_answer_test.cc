// The state machine against scripted replicas under a clock turned by hand.

#include "gateway/unbroken_answer.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>

namespace sluice::gateway {
namespace {

using api::InternalEvent;
using completion::Delta;
using completion::FinishReason;
using completion::Request;
using namespace std::chrono_literals;

constexpr int kLength = 24;  // tokens of a whole choice

// What a replica of the one numerics id says: token and text are functions of choice and position.
int32_t token_at(size_t choice, int position) {
  return static_cast<int32_t>(choice) * 1000 + position;
}
std::string text_at(int32_t token) { return std::to_string(token) + " "; }

// The events of an answer to `request`, tokens grouped at random as speculation would.
std::deque<InternalEvent> answer_to(const Request& request, const std::string& fingerprint,
                                    Rng& rng) {
  std::deque<InternalEvent> events;
  api::StartEvent start{.fingerprint = fingerprint, .max_model_len = 512, .seed = 1, .info = {}};
  if (!request.resume) start.info.tokens.assign(request.prompts.size(), {1, 2, 3});
  events.emplace_back(std::move(start));
  const size_t choices = request.prompts.size() * size_t(request.choices_per_prompt);
  std::vector<int> at(choices);
  std::vector<bool> over(choices);
  for (size_t i = 0; i < choices && request.resume; ++i) {
    over[i] = request.resume->choices[i].ended_after.has_value();
    at[i] = static_cast<int>(request.resume->choices[i].tokens.size());
  }
  if (request.sampling.prompt_logprobs >= 0) {
    for (size_t i = 0; i < request.prompts.size(); ++i) {
      if (request.resume && request.resume->prompt_logprobs_told[i]) continue;
      events.emplace_back(api::PromptLogprobsEvent{static_cast<int>(i), {}});
    }
  }
  while (std::ranges::find(over, false) != over.end()) {
    const auto i = static_cast<size_t>(rng.below(choices));
    if (over[i]) continue;
    Delta delta;
    delta.choice = static_cast<int>(i);
    const int most = kLength - static_cast<int>(i);
    const int end = std::min<int>(most, at[i] + 1 + static_cast<int>(rng.below(3)));
    for (; at[i] < end; ++at[i]) {
      delta.tokens.push_back(token_at(i, at[i]));
      delta.text += text_at(delta.tokens.back());
    }
    if (at[i] == most) {
      delta.finish = FinishReason::kLength;
      over[i] = true;
    }
    events.emplace_back(std::move(delta));
  }
  events.emplace_back(completion::Usage{3, 0, 2});
  return events;
}

class Sink : public completion::ResponseSink {
 public:
  void on_start(completion::PromptInfo info) override {
    EXPECT_EQ(starts++, 0);
    prompts = info.tokens.size();
  }
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry>) override {
    EXPECT_EQ(logprobs[prompt]++, 0);
  }
  void on_delta(Delta delta) override {
    EXPECT_EQ(starts, 1);
    EXPECT_EQ(ends, 0) << "something came behind the end";
    texts[delta.choice] += delta.text;
    auto& all = tokens[delta.choice];
    all.insert(all.end(), delta.tokens.begin(), delta.tokens.end());
    EXPECT_FALSE(finished[delta.choice]);
    finished[delta.choice] = delta.finish.has_value();
  }
  void on_done(const completion::Usage& all) override {
    ++ends;
    usage = all;
  }
  void on_error(const Status& status) override {
    ++ends;
    error = status;
  }

  // Whole, and every token once.
  void expect_whole(const Request& request) {
    ASSERT_EQ(ends, 1);
    ASSERT_FALSE(error) << error->message();
    EXPECT_EQ(starts, 1);
    const size_t choices = request.prompts.size() * size_t(request.choices_per_prompt);
    int total = 0;
    for (size_t i = 0; i < choices; ++i) {
      std::string text;
      const int most = kLength - static_cast<int>(i);
      for (int p = 0; p < most; ++p) text += text_at(token_at(i, p));
      EXPECT_EQ(texts[static_cast<int>(i)], text);
      EXPECT_TRUE(finished[static_cast<int>(i)]);
      total += most;
    }
    EXPECT_EQ(usage.completion_tokens, total);
    EXPECT_EQ(usage.prompt_tokens, static_cast<int>(3 * request.prompts.size()));
    const bool asked = request.sampling.prompt_logprobs >= 0;
    EXPECT_EQ(logprobs.size(), asked ? request.prompts.size() : 0);
  }

  int starts = 0;
  int ends = 0;
  size_t prompts = 0;
  std::map<int, std::string> texts;
  std::map<int, std::vector<int32_t>> tokens;
  std::map<int, bool> finished;
  std::map<int, int> logprobs;
  completion::Usage usage;
  std::optional<Status> error;
};

class Observer : public UnbrokenObserver {
 public:
  void on_attempt(AttemptReason reason) override { ++attempts[reason]; }
  void on_loss(Loss loss, bool) override { ++losses[loss]; }
  void on_gap(Duration gap) override { longest_gap = std::max(longest_gap, gap); }
  void on_given_up(bool mid_answer) override { ++(mid_answer ? cut : refused); }

  std::map<AttemptReason, int> attempts;
  std::map<Loss, int> losses;
  Duration longest_gap{};
  int cut = 0;
  int refused = 0;
};

Request request_of(size_t prompts = 1, int n = 1) {
  Request request;
  for (size_t i = 0; i < prompts; ++i) request.prompts.emplace_back(completion::TextPrompt{"x"});
  request.choices_per_prompt = n;
  request.sampling.seed = 7;
  return request;
}

// Drives one answer. `stream` decides what happens to each attempt.
class World {
 public:
  struct Live {
    std::string replica;
    Request request;
    std::deque<InternalEvent> events;
    bool closed = false;
  };

  explicit World(Request request, UnbrokenRules rules = {}, uint64_t seed = 1)
      : rng(seed), asked(std::move(request)), answer(asked, rules, seed, sink, observer, now) {}

  // Opens what is wished, at a replica not excluded; nothing when all are.
  int open() {
    if (!answer.wants(now)) return 0;
    const auto wish = answer.wish();
    for (const auto& [name, fingerprint] : replicas) {
      if (std::ranges::find(wish.excluded, name) != wish.excluded.end()) continue;
      if (!wish.fingerprint.empty() && wish.fingerprint != fingerprint) continue;
      const int number = ++attempts;
      Live& one = live[number];
      one.replica = name;
      one.request = answer.begin(number, name, now);
      one.events = answer_to(one.request, fingerprint, rng);
      close();
      return number;
    }
    answer.not_begun(Status(Code::kUnavailable, "none"), now);
    return 0;
  }
  void close() {
    for (const auto& each : answer.take_closed()) {
      live[each.attempt].closed = true;
      results.push_back(each.result);
    }
  }
  bool deliver(int number) {
    Live& one = live[number];
    if (one.events.empty()) return false;
    answer.heard(number, now);
    answer.on_event(number, std::move(one.events.front()), now);
    one.events.pop_front();
    close();
    return true;
  }
  void lose(int number, Loss loss) {
    answer.on_end(number, loss, Status(Code::kUnavailable, "lost"), now);
    close();
  }
  void pass(Duration time) {
    now += time;
    answer.tick(now);
    close();
  }
  int newest_open() const {
    for (auto at = live.rbegin(); at != live.rend(); ++at) {
      if (!at->second.closed) return at->first;
    }
    return 0;
  }
  void run_to_end() {
    for (int i = 0; i < 10'000 && !answer.over(); ++i) {
      open();
      if (const int number = newest_open(); number == 0 || !deliver(number)) pass(5ms);
    }
  }

  Rng rng;
  TimePoint now{1h};
  Request asked;
  Sink sink;
  Observer observer;
  std::vector<std::pair<std::string, std::string>> replicas = {{"a", "fp"}, {"b", "fp"}};
  UnbrokenAnswer answer;
  std::map<int, Live> live;
  std::vector<UseResult> results;
  int attempts = 0;
};

TEST(UnbrokenAnswer, AnUndisturbedAnswerPassesThrough) {
  World world(request_of(2, 2));
  world.run_to_end();
  world.sink.expect_whole(world.asked);
  EXPECT_EQ(world.results, std::vector{UseResult::kAnswered});
  EXPECT_EQ(world.sink.usage.cached_tokens, 2);
}

TEST(UnbrokenAnswer, ACutAfterEveryEventIsNotSeen) {
  for (const Loss loss : {Loss::kCut, Loss::kHung, Loss::kFailed}) {
    for (int cut = 0; cut < 60; ++cut) {
      Request request = request_of(1, 2);
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
    Request request = request_of(1 + rng.below(2), 1 + static_cast<int>(rng.below(3)));
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
    if (testing::Test::HasFailure()) return;
  }
}

TEST(UnbrokenAnswer, BeforeTheFirstTokenRetriesAreBounded) {
  World world(request_of());
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

TEST(UnbrokenAnswer, AnswersThatAnyReplicaWouldGiveAreNotRetried) {
  World world(request_of());
  world.open();
  world.live[1].events = {InternalEvent(Status(Code::kInvalidArgument, "bad", "stop"))};
  world.deliver(1);
  EXPECT_EQ(world.attempts, 1);
  EXPECT_EQ(world.sink.error->param(), "stop");
  EXPECT_EQ(world.results, std::vector{UseResult::kAnswered});
}

TEST(UnbrokenAnswer, AFullReplicaSendsTheRequestToAnother) {
  World world(request_of());
  world.open();
  world.live[1].events = {InternalEvent(Status(Code::kResourceExhausted, "full"))};
  world.deliver(1);
  world.run_to_end();
  EXPECT_EQ(world.live[2].replica, "b");
  world.sink.expect_whole(world.asked);
  EXPECT_EQ(world.results.front(), UseResult::kRefused);
}

TEST(UnbrokenAnswer, WaitsForAnEqualReplica) {
  World world(request_of());
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
  World world(request_of());
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
  World world(request_of(), rules);
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
  World world(request_of());
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
  World moved(request_of());
  moved.open();
  for (int i = 0; i < 5; ++i) moved.deliver(1);
  moved.live[1].events.emplace_front(api::LeavingEvent{});
  moved.deliver(1);
  ASSERT_EQ(moved.open(), 2);
  EXPECT_TRUE(moved.live[1].closed);
  moved.run_to_end();
  moved.sink.expect_whole(moved.asked);
  EXPECT_EQ(moved.observer.attempts[AttemptReason::kMove], 1);

  World alone(request_of());
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
  World world(request_of(), rules);
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
  World world(request_of(), rules);
  world.open();
  world.pass(300ms);
  ASSERT_EQ(world.open(), 2);
  world.lose(2, Loss::kCut);
  EXPECT_FALSE(world.answer.over());
  world.run_to_end();
  world.sink.expect_whole(world.asked);
}

TEST(UnbrokenAnswer, CancelClosesEverythingAndTellsOnce) {
  World world(request_of());
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
  World world(request_of());
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
  Request request = request_of();
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
    World world(request_of());
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
