#include "engine/drafter.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "engine/core.h"
#include "engine/fake_runner.h"
#include "engine/test_support.h"

namespace sluice::engine {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr int kContext = 512;

// Two stand-ins for models under one core; every pass takes time.
struct Scene {
  FakeModel model{};
  FakeModel draft{};
  FakeTime model_time{.step = milliseconds(10), .row = microseconds(100)};
  FakeTime draft_time{.step = milliseconds(1), .row = microseconds(10)};
  int64_t blocks = 256;
  int64_t draft_blocks = 256;
  int draft_context = kContext;
  int draft_rows = 64;
  SpeculationOptions speculation{.method = DraftMethod::kModel, .max_draft = 4};
  std::vector<int32_t> end_tokens{};
  ThreadTeam* team = nullptr;
};

class World {
 public:
  explicit World(const Scene& scene)
      : scene_(scene),
        runner_(scene.model, scene.blocks, 16),
        draft_(scene.draft, scene.draft_blocks, 8),
        core_(runner_, options(), clock_) {
    runner_.take_time(clock_, scene.model_time);
    draft_.take_time(clock_, scene.draft_time);
  }

  void add(const Request& request) {
    requests_.push_back(request);
    core_.add(request, clock_.now());
  }
  void speed_up(const FakeTime& time) { draft_.take_time(clock_, time); }
  void step() {
    for (const StepOutput& output : core_.step()) transcripts_[output.id].add(output);
    core_.check_integrity();
    core_.drafter()->pool().check_integrity();
    ++steps_;
  }
  void run() {
    while (!core_.idle()) {
      ASSERT_LT(steps_, 20'000) << "it does not end";
      step();
    }
  }
  // Each request was answered as it is alone and without any draft.
  void expect_as_alone() {
    for (const Request& request : requests_) {
      const Transcript alone = oracle(scene_.model, scene_.end_tokens, request, kContext);
      EXPECT_TRUE(equal(transcripts_[request.id].tokens, alone.tokens)) << request.id;
      EXPECT_EQ(transcripts_[request.id].finish, alone.finish) << request.id;
    }
  }

  EngineCore& core() { return core_; }
  const EngineStats& stats() const { return core_.stats(); }
  double draft_share() const {
    return to_seconds(stats().draft_model_time) / to_seconds(clock_.now() - TimePoint());
  }
  int steps() const { return steps_; }

 private:
  EngineOptions options() {
    EngineOptions o{.max_sequences = 64,
                    .max_batched_tokens = 128,
                    .max_context = kContext,
                    .block_size = 16,
                    .kv_blocks = scene_.blocks,
                    .end_tokens = scene_.end_tokens};
    o.speculation = scene_.speculation;
    o.draft = {.runner = &draft_,
               .block_size = 8,
               .kv_blocks = scene_.draft_blocks,
               .max_rows = scene_.draft_rows,
               .max_context = scene_.draft_context};
    o.team = scene_.team;
    return o;
  }

  const Scene scene_;
  ManualClock clock_;
  PagedRunner runner_;
  PagedRunner draft_;
  EngineCore core_;
  std::vector<Request> requests_;
  std::map<RequestId, Transcript> transcripts_;
  int steps_ = 0;
};

Request make_request(RequestId id, int prompt, int tokens, double temperature = 0.0) {
  Request request;
  request.id = id;
  Rng rng(id);
  for (int i = 0; i < prompt; ++i) request.prompt.push_back(static_cast<int32_t>(rng.below(64)));
  request.sampling.temperature = temperature;
  request.sampling.max_tokens = tokens;
  request.sampling.seed = id * 77;
  return request;
}

// A draft model that is the model itself guesses every token, also where a request samples: it
// draws with the request's random numbers. A wrong or stale K or V would show as a wrong guess.
TEST(Drafter, TheModelItselfIsAlwaysRight) {
  ThreadTeam team(2);
  for (const double temperature : {0.0, 1.0}) {
    Scene scene;
    scene.team = &team;
    World world(scene);
    for (RequestId id = 1; id <= 3; ++id) {
      Request request = make_request(id, 30 * static_cast<int>(id), 200, temperature);
      if (id == 2) request.sampling.repetition_penalty = 1.3;
      if (id == 3) request.sampling.logprobs = 2;
      world.add(request);
    }
    world.run();
    world.expect_as_alone();
    EXPECT_GT(world.stats().draft_tokens, 300u);
    EXPECT_EQ(world.stats().accepted_drafts, world.stats().draft_tokens);
    EXPECT_LT(world.steps(), 100) << "a step gives several tokens";
  }
}

TEST(Drafter, AModelThatIsAlwaysWrongIsHardlyAsked) {
  Scene scene;
  scene.draft.memory = 1;  // it looks at the last token only
  World world(scene);
  world.add(make_request(1, 20, 480, 1.0));
  world.run();
  world.expect_as_alone();
  EXPECT_LT(world.draft_share(), 0.03);
  EXPECT_GT(world.stats().draft_model_time, Duration::zero()) << "but it was tried";
}

TEST(Drafter, AModelThatCostsMoreThanItSavesIsNotAsked) {
  Scene scene;
  scene.draft_time = scene.model_time;
  World world(scene);
  world.add(make_request(1, 20, 400));
  world.run();
  world.expect_as_alone();
  EXPECT_LT(world.draft_share(), 0.05);
}

// A draft model that was slow at first, beside a neighbour that is gone now, is tried again.
TEST(Drafter, CostsThatWereHighAreLearnedAnew) {
  Scene scene;
  scene.draft_time = {.step = milliseconds(200), .row = microseconds(10)};
  World world(scene);
  world.add(make_request(1, 20, 480));
  for (int i = 0; i < 30; ++i) world.step();
  EXPECT_LT(world.stats().draft_tokens, 12u);
  world.speed_up({.step = microseconds(500), .row = microseconds(10)});
  world.run();
  world.expect_as_alone();
  EXPECT_GT(world.stats().accepted_drafts, 50u);
}

TEST(Drafter, ManyStreamsHaveNone) {
  Scene scene;
  scene.speculation.max_streams = 4;
  World world(scene);
  for (RequestId id = 1; id <= 5; ++id) world.add(make_request(id, 10, 60));
  for (int i = 0; i < 40; ++i) world.step();
  EXPECT_EQ(world.stats().draft_model_time, Duration::zero());
  world.core().cancel(3);
  world.run();
  EXPECT_GT(world.stats().accepted_drafts, 0u) << "four are not too many";
}

// Rows that cost as much as they give are left alone by themselves.
TEST(Drafter, AFullBatchSwitchesItOff) {
  Scene scene;
  scene.model_time = {.step = microseconds(100), .row = milliseconds(1)};
  World world(scene);
  for (RequestId id = 1; id <= 16; ++id) world.add(make_request(id, 10, 100));
  world.run();
  world.expect_as_alone();
  EXPECT_LT(world.draft_share(), 0.03);
}

TEST(Drafter, PreemptionAndCancellationTakeItsBlocksBack) {
  Scene scene;
  scene.blocks = 40;  // for six sequences of up to 200 tokens
  scene.model_time = {.step = milliseconds(20), .row = microseconds(10)};
  World world(scene);
  for (RequestId id = 1; id <= 6; ++id) world.add(make_request(id, 40, 160, id % 2 == 0 ? 1.0 : 0));
  for (int i = 0; i < 12; ++i) world.step();
  world.core().cancel(2);
  world.run();
  EXPECT_GT(world.stats().preemptions, 0u);
  EXPECT_GT(world.stats().accepted_drafts, 0u);
  EXPECT_EQ(world.stats().accepted_drafts, world.stats().draft_tokens);
  // The next sequence's step forgets those that ended.
  world.add(make_request(9, 10, 5));
  world.run();
  EXPECT_LE(world.core().drafter()->followed(), 1u);
  EXPECT_LE(world.core().drafter()->pool().held_count(), 2);
}

TEST(Drafter, WithoutBlocksASequenceGoesWithoutDrafts) {
  Scene scene;
  scene.draft_blocks = 12;  // of 8: one sequence's
  scene.model_time = {.step = milliseconds(20), .row = microseconds(10)};
  World world(scene);
  for (RequestId id = 1; id <= 4; ++id) world.add(make_request(id, 30, 60));
  world.run();
  world.expect_as_alone();
  EXPECT_GT(world.stats().accepted_drafts, 0u);
  EXPECT_EQ(world.stats().accepted_drafts, world.stats().draft_tokens);
}

TEST(Drafter, KeepsToItsContextAndBatch) {
  Scene scene;
  scene.draft_context = 100;
  scene.draft_rows = 7;
  World world(scene);
  world.add(make_request(1, 60, 200));
  world.add(make_request(2, 300, 50));  // longer than that from the start
  world.run();
  world.expect_as_alone();
  EXPECT_GT(world.stats().accepted_drafts, 0u);
  EXPECT_LT(world.stats().accepted_drafts, 45u);
}

// Vocabularies are filled up to round sizes, not always to the same one.
TEST(Drafter, RowsOfLogitsMayDiffer) {
  for (const int vocab : {60, 70}) {
    Scene scene;
    scene.draft.vocab = vocab;
    scene.model.memory = scene.draft.memory = 2;
    World world(scene);
    world.add(make_request(1, 20, 300));
    world.add(make_request(2, 20, 300, 1.0));
    world.run();
    world.expect_as_alone();
    EXPECT_GT(world.stats().draft_model_time, Duration::zero()) << vocab;
  }
}

TEST(Drafter, AnswersEndWhereTheyWouldAlone) {
  Scene scene;
  scene.end_tokens = {3, 5, 7};
  World world(scene);
  for (RequestId id = 1; id <= 12; ++id) {
    Request request = make_request(id, 10, static_cast<int>(id) * 9, 1.0);
    if (id % 3 == 0) request.sampling.stop_tokens = {11};
    if (id % 4 == 0) request.sampling.min_tokens = 8;
    if (id % 5 == 0) request.sampling.bad_words = {{1}, {2, 3}};
    world.add(request);
  }
  world.run();
  world.expect_as_alone();
}

}  // namespace
}  // namespace sluice::engine
