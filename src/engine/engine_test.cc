#include "engine/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "engine/fake_runner.h"
#include "engine/test_support.h"

namespace sluice::engine {
namespace {

constexpr int kBlocks = 256;
constexpr int kBlockSize = 16;

// A runner that a test can hold up inside forward().
class GatedRunner : public Runner {
 public:
  int vocab() const override { return inner_.vocab(); }

  void forward(const model::Batch& batch, std::span<float> logits) override {
    {
      std::unique_lock lock(mutex_);
      closed_ = closed_ || steps_left_ == 0;
      if (steps_left_ >= 0) --steps_left_;
      held_ = closed_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return !closed_; });
      held_ = false;
    }
    inner_.forward(batch, logits);
  }

  void set_closed(bool closed) {
    const std::lock_guard lock(mutex_);
    closed_ = closed;
    changed_.notify_all();
  }
  // Closed by itself once so many more steps are done: however late the test's thread comes, there
  // is one to hold.
  void close_after(int steps) {
    const std::lock_guard lock(mutex_);
    steps_left_ = steps;
  }
  // Waits until a step stands in forward().
  void wait_for_step() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return held_; });
  }

 private:
  PagedRunner inner_{FakeModel{}, kBlocks, kBlockSize};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  bool held_ = false;
  int steps_left_ = -1;  // until it closes; negative: nothing closes it
};

// Holds the engine's next step until open(), or the end of the scope.
class Gate {
 public:
  explicit Gate(GatedRunner& runner) : runner_(runner) { runner_.set_closed(true); }
  ~Gate() { open(); }
  void open() { runner_.set_closed(false); }

 private:
  GatedRunner& runner_;
};

// Collects what the sink is given.
class Outputs {
 public:
  OutputSink sink() {
    return [this](std::vector<StepOutput>&& outputs) {
      const std::lock_guard lock(mutex_);
      for (const StepOutput& output : outputs) {
        transcripts_[output.id].add(output);
        if (output.finish != FinishReason::kNone) ++finished_;
        last_[output.id] = output;
      }
      changed_.notify_all();
    };
  }

  Transcript wait(RequestId id) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return transcripts_[id].finish != FinishReason::kNone; });
    return transcripts_[id];
  }
  void wait_for_tokens(RequestId id, size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return transcripts_[id].tokens.size() >= count; });
  }
  StepOutput last(RequestId id) {
    const std::lock_guard lock(mutex_);
    return last_.at(id);
  }
  size_t finished() {
    const std::lock_guard lock(mutex_);
    return finished_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, Transcript> transcripts_;
  std::map<RequestId, StepOutput> last_;
  size_t finished_ = 0;
};

EngineOptions options() {
  return {.max_context = 2048, .block_size = kBlockSize, .kv_blocks = kBlocks};
}

Request request(RequestId id, int prompt = 20, int output = 10) {
  Request r;
  r.id = id;
  for (int i = 0; i < prompt; ++i) r.prompt.push_back(static_cast<int32_t>((id * 7 + i) % 64));
  r.sampling.max_tokens = output;
  r.sampling.seed = id;
  return r;
}

void wait_until_idle(const Engine& engine) {
  while (!engine.idle()) std::this_thread::yield();
}

TEST(Engine, AnswersAndCounts) {
  GatedRunner runner;
  Outputs outputs;
  std::atomic<int> rows = 0;
  EngineOptions o = options();
  o.on_step = [&](const StepInfo& info) { rows += info.prefill_rows + info.decode_rows; };
  const auto engine = start_engine(runner, o, outputs.sink());
  ASSERT_TRUE(engine->submit(request(1)));
  const Transcript got = outputs.wait(1);
  const Transcript want = oracle(FakeModel{}, {}, request(1), 2048);
  EXPECT_TRUE(equal(got.tokens, want.tokens));
  EXPECT_EQ(got.finish, FinishReason::kLength);
  wait_until_idle(*engine);
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.prompt_tokens, 20u);
  EXPECT_EQ(stats.generated_tokens, 10u);
  EXPECT_EQ(stats.running + stats.waiting, 0);
  EXPECT_EQ(stats.kv_blocks_used, 0);
  EXPECT_EQ(stats.kv_blocks_cached, 1);
  EXPECT_EQ(stats.steps, 10u);
  EXPECT_EQ(rows, 29);
}

TEST(Engine, TimesAreInOrder) {
  GatedRunner runner;
  Outputs outputs;
  const auto engine = start_engine(runner, options(), outputs.sink());
  ASSERT_TRUE(engine->submit(request(1)));
  outputs.wait(1);
  const StepOutput last = outputs.last(1);
  EXPECT_LT(TimePoint{}, last.queued);
  EXPECT_LE(last.queued, last.scheduled);
  EXPECT_LE(last.scheduled, last.first_token);
  EXPECT_LE(last.first_token, last.at);
}

TEST(Engine, ASecondRequestFindsThePrefixOfTheFirst) {
  GatedRunner runner;
  Outputs outputs;
  const auto engine = start_engine(runner, options(), outputs.sink());
  ASSERT_TRUE(engine->submit(request(1, 40)));
  outputs.wait(1);
  Request again = request(1, 40);
  again.id = 2;
  ASSERT_TRUE(engine->submit(again));
  EXPECT_TRUE(equal(outputs.wait(2).tokens, outputs.wait(1).tokens));
  EXPECT_EQ(outputs.last(1).cached_tokens, 0);
  EXPECT_EQ(outputs.last(2).cached_tokens, 32);
  EXPECT_EQ(engine->stats().prefix_hits, 32u);
  EXPECT_EQ(engine->stats().prefix_queries, 80u);
}

TEST(Engine, CancelEndsARunningRequestWithinAStep) {
  GatedRunner runner;
  Outputs outputs;
  const auto engine = start_engine(runner, options(), outputs.sink());
  runner.close_after(4);
  ASSERT_TRUE(engine->submit(request(1, 20, 2000)));
  runner.wait_for_step();
  Gate gate(runner);
  const uint64_t before = engine->stats().steps;
  engine->cancel(1);
  engine->cancel(77);  // unknown: no effect
  gate.open();
  EXPECT_EQ(outputs.wait(1).finish, FinishReason::kCancelled);
  wait_until_idle(*engine);
  EXPECT_LE(engine->stats().steps, before + 1);
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
}

TEST(Engine, TheQueueIsBoundedByRequestsAndByTokens) {
  GatedRunner runner;
  Outputs outputs;
  EngineOptions o = options();
  o.max_queued_requests = 3;
  o.max_queued_tokens = 100;
  const auto engine = start_engine(runner, o, outputs.sink());
  runner.close_after(2);
  ASSERT_TRUE(engine->submit(request(1, 20, 1000)));
  runner.wait_for_step();
  Gate gate(runner);
  ASSERT_TRUE(engine->submit(request(2, 60)));
  const auto over_tokens = engine->submit(request(3, 60));
  ASSERT_FALSE(over_tokens);
  EXPECT_EQ(over_tokens.error().code(), Code::kResourceExhausted);
  EXPECT_EQ(over_tokens.error().reason(), "queue_full_tokens");
  ASSERT_TRUE(engine->submit(request(4)));
  ASSERT_TRUE(engine->submit(request(5, 2)));
  EXPECT_EQ(engine->stats().running, 1);
  EXPECT_EQ(engine->stats().waiting, 3);
  EXPECT_EQ(engine->stats().waiting_tokens, 82);
  const auto over_requests = engine->submit(request(6, 1));
  ASSERT_FALSE(over_requests);
  EXPECT_EQ(over_requests.error().reason(), "queue_full_requests");
  gate.open();
  for (const RequestId id : {1, 2, 4, 5}) {
    EXPECT_EQ(outputs.wait(id).finish, FinishReason::kLength);
  }
  wait_until_idle(*engine);
  EXPECT_TRUE(engine->submit(request(7, 500))) << "a long prompt is let into an empty queue";
  outputs.wait(7);
}

TEST(Engine, RefusesWhatCanNeverRunAndIdsThatAreLive) {
  GatedRunner runner;
  Outputs outputs;
  const auto engine = start_engine(runner, options(), outputs.sink());
  EXPECT_EQ(engine->submit(request(1, 2048)).error().reason(), "context_length_exceeded");
  EXPECT_EQ(engine->submit(request(1, 0)).error().code(), Code::kInvalidArgument);
  Gate gate(runner);
  ASSERT_TRUE(engine->submit(request(1)));
  EXPECT_EQ(engine->submit(request(1)).error().param(), "id");
  gate.open();
  outputs.wait(1);
}

TEST(Engine, DeadlinesEndQueuedAndRunningRequests) {
  ManualClock clock;
  GatedRunner runner;
  Outputs outputs;
  EngineOptions o = options();
  o.max_sequences = 1;
  const auto engine = start_engine(runner, o, outputs.sink(), clock);
  Request running = request(1, 20, 2000);
  running.deadline = clock.now() + std::chrono::seconds(5);
  Request queued = request(2);
  queued.deadline = clock.now() + std::chrono::seconds(5);
  ASSERT_TRUE(engine->submit(running));
  ASSERT_TRUE(engine->submit(queued));
  outputs.wait_for_tokens(1, 2);
  clock.advance(std::chrono::seconds(6));
  EXPECT_EQ(outputs.wait(1).finish, FinishReason::kDeadline);
  EXPECT_EQ(outputs.wait(2).finish, FinishReason::kDeadline);
  EXPECT_TRUE(outputs.wait(2).tokens.empty());
}

TEST(Engine, DrainFinishesWhatItHasAndTakesNoMore) {
  GatedRunner runner;
  Outputs outputs;
  EngineOptions o = options();
  o.max_sequences = 1;
  const auto engine = start_engine(runner, o, outputs.sink());
  Gate gate(runner);
  ASSERT_TRUE(engine->submit(request(1)));
  ASSERT_TRUE(engine->submit(request(2)));
  engine->drain();
  const auto refused = engine->submit(request(3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnavailable);
  EXPECT_EQ(refused.error().reason(), "draining");
  gate.open();
  EXPECT_EQ(outputs.wait(1).finish, FinishReason::kLength);
  EXPECT_EQ(outputs.wait(2).finish, FinishReason::kLength);
}

TEST(Engine, TheDestructorAnswersEverythingAccepted) {
  GatedRunner runner;
  Outputs outputs;
  EngineOptions o = options();
  o.max_sequences = 2;
  auto engine = start_engine(runner, o, outputs.sink());
  for (RequestId id = 1; id <= 9; ++id) ASSERT_TRUE(engine->submit(request(id, 20, 2000)));
  outputs.wait_for_tokens(1, 1);
  for (RequestId id = 10; id <= 12; ++id) ASSERT_TRUE(engine->submit(request(id, 20, 2000)));
  engine.reset();
  EXPECT_EQ(outputs.finished(), 12u);
  for (RequestId id = 1; id <= 12; ++id) {
    EXPECT_EQ(outputs.wait(id).finish, FinishReason::kCancelled);
  }
}

TEST(Engine, BrokenLogitsEndOneRequestOnly) {
  class HalfBroken : public Runner {
   public:
    int vocab() const override { return 8; }
    void forward(const model::Batch& batch, std::span<float> logits) override {
      for (size_t i = 0; i < batch.output_rows.size(); ++i) {
        const bool broken = batch.tokens[size_t(batch.output_rows[i])] == 7;
        for (size_t j = 0; j < 8; ++j) logits[i * 8 + j] = broken ? std::nanf("") : j == 3;
      }
    }
  } runner;
  Outputs outputs;
  const auto engine = start_engine(runner, options(), outputs.sink());
  Request bad = request(1);
  bad.prompt.assign(5, 7);
  Request good = request(2);
  good.prompt.assign(5, 3);
  good.sampling.temperature = 0;
  ASSERT_TRUE(engine->submit(bad));
  ASSERT_TRUE(engine->submit(good));
  EXPECT_EQ(outputs.wait(1).finish, FinishReason::kError);
  EXPECT_NE(outputs.wait(1).error.find("not finite"), std::string::npos);
  EXPECT_EQ(outputs.wait(2).finish, FinishReason::kLength);
}

TEST(Engine, ManyThreadsSubmitAndCancel) {
  GatedRunner runner;
  Outputs outputs;
  EngineOptions o = options();
  o.max_sequences = 8;
  const auto engine = start_engine(runner, o, outputs.sink());
  std::atomic<size_t> accepted = 0;
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (RequestId t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (RequestId i = 0; i < 50; ++i) {
          const RequestId id = t * 1000 + i;
          if (engine->submit(request(id, 10 + int(i), 5))) ++accepted;
          if (i % 3 == 0) engine->cancel(id);
          engine->stats();
        }
      });
    }
  }
  wait_until_idle(*engine);
  EXPECT_EQ(accepted, 200u);
  EXPECT_EQ(outputs.finished(), 200u);
  for (RequestId t = 0; t < 4; ++t) {
    for (RequestId i = 1; i < 50; i += 3) {
      const RequestId id = t * 1000 + i;
      const Transcript want = oracle(FakeModel{}, {}, request(id, 10 + int(i), 5), 2048);
      EXPECT_TRUE(equal(outputs.wait(id).tokens, want.tokens));
    }
  }
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
}

// Rows wide enough to be handed to the team; the tokens are those of one thread.
TEST(Engine, RowsSampledByATeamAreTheSame) {
  const FakeModel wide{.vocab = 20'000};
  PagedRunner runner(wide, kBlocks, kBlockSize);
  ThreadTeam team(3);
  Outputs outputs;
  EngineOptions o = options();
  o.team = &team;
  const auto engine = start_engine(runner, o, outputs.sink());
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 12; ++id) {
    Request r = request(id, 5, 12);
    r.sampling.temperature = id % 3 == 0 ? 0.0 : 0.8;
    if (id % 2 == 0) r.sampling.top_p = 0.9;
    if (id % 4 == 1) r.sampling.typical_p = 0.8;
    if (id % 5 == 0) r.sampling.top_k = 3000;
    r.sampling.logprobs = 2;
    requests.push_back(std::move(r));
  }
  for (const Request& r : requests) ASSERT_TRUE(engine->submit(r));
  for (const Request& r : requests) {
    EXPECT_TRUE(equal(outputs.wait(r.id).tokens, oracle(wide, {}, r, 2048).tokens)) << r.id;
  }
}

}  // namespace
}  // namespace sluice::engine
