// Seeded simulation of the engine: random arrivals, tenants, priorities, deadlines, cancellations,
// broken logits, tiny pools and odd budgets, step by step over a paged store that knows what each
// block must hold. After every step the accounting is checked; at the end every request must have
// been answered exactly as if it had run alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>

#include "engine/core.h"
#include "engine/fake_runner.h"
#include "engine/test_support.h"

namespace sluice::engine {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

struct Planned {
  Request request;
  uint64_t arrives = 0;  // step
  std::optional<uint64_t> cancelled;
};

struct Scenario {
  EngineOptions options;
  FakeModel model;
  FakeTime time;
  FakeModel draft;  // with DraftMethod::kModel
  FakeTime draft_time;
  std::vector<Planned> requests;
};

SamplingParams random_sampling(Rng& rng, int vocab, int max_context) {
  SamplingParams s;
  const auto token = [&] { return static_cast<int32_t>(rng.below(uint64_t(vocab))); };
  s.temperature = rng.chance(0.4) ? 0.0 : 0.3 + rng.uniform();
  if (rng.chance(0.3)) s.top_k = static_cast<int>(rng.between(1, vocab));
  if (rng.chance(0.3)) s.top_p = rng.uniform();
  if (rng.chance(0.2)) s.min_p = rng.uniform() * 0.5;
  if (rng.chance(0.1)) s.typical_p = rng.uniform();
  if (rng.chance(0.2)) s.repetition_penalty = 0.7 + rng.uniform();
  if (rng.chance(0.2)) s.presence_penalty = rng.uniform() * 2 - 1;
  if (rng.chance(0.2)) s.frequency_penalty = rng.uniform() * 2 - 1;
  if (rng.chance(0.2)) s.logit_bias = {{token(), 3.0f}, {token(), -3.0f}};
  if (rng.chance(0.2)) s.bad_words = {{token()}, {token(), token()}};
  if (rng.chance(0.1)) s.allowed_tokens = {token(), token(), token()};
  if (rng.chance(0.2)) s.stop_tokens = {token()};
  if (rng.chance(0.3)) s.logprobs = static_cast<int>(rng.between(0, 5));
  if (rng.chance(0.15)) s.prompt_logprobs = static_cast<int>(rng.between(0, 3));
  s.ignore_eos = rng.chance(0.3);
  s.max_tokens = static_cast<int>(rng.between(0, rng.chance(0.2) ? max_context : 24));
  if (rng.chance(0.2)) s.min_tokens = static_cast<int>(rng.between(0, s.max_tokens));
  s.seed = rng.next();
  return s;
}

Request random_request(Rng& rng, RequestId id, const FakeModel& model, int context) {
  Request request;
  request.id = id;
  const auto size = static_cast<size_t>(rng.between(1, context - 1));
  // Families of prompts share a start.
  Rng family(rng.below(3));
  const size_t shared = rng.chance(0.7) ? rng.below(size) : 0;
  while (request.prompt.size() < size) {
    Rng& source = request.prompt.size() < shared ? family : rng;
    request.prompt.push_back(static_cast<int32_t>(source.below(uint64_t(model.vocab))));
  }
  request.sampling = random_sampling(rng, model.vocab, context);
  request.priority = static_cast<int>(rng.below(3));
  request.tenant = std::string(1, static_cast<char>('a' + rng.below(3)));
  if (rng.chance(0.1)) request.cache_salt = "salt";
  return request;
}

// For some: one that is the model itself, or another one, of any speed, with room for all or hardly
// any.
void add_draft_model(Rng rng, Scenario& scenario) {
  if (rng.chance(0.6)) return;
  scenario.options.speculation.method = DraftMethod::kModel;
  scenario.draft = scenario.model;
  if (rng.chance(0.5)) scenario.draft.memory = static_cast<int>(rng.below(3));
  if (rng.chance(0.3)) scenario.draft.vocab = static_cast<int>(rng.between(3, 40));
  scenario.draft_time = {.step = microseconds(rng.below(100)), .row = microseconds(rng.below(10))};
  scenario.options.draft = {.block_size = 1 << rng.below(5),
                            .kv_blocks = rng.between(1, 60),
                            .max_rows = static_cast<int>(rng.between(1, 48)),
                            .max_context = static_cast<int>(rng.between(4, 120))};
}

Scenario random_scenario(uint64_t seed) {
  Rng rng(seed);
  Scenario scenario;
  EngineOptions& o = scenario.options;
  o.block_size = 1 << rng.below(5);
  o.max_context = static_cast<int>(rng.between(4, 120));
  const int64_t least = (o.max_context + o.block_size - 1) / o.block_size;
  // Down to less than one context, up to a comfortable pool.
  o.kv_blocks = std::max<int64_t>(rng.between(least / 2, least * 4), 4 / o.block_size + 1);
  o.max_sequences = static_cast<int>(rng.between(1, 16));
  o.max_batched_tokens = static_cast<int>(rng.between(1, 48));
  o.prefix_caching = rng.chance(0.85);
  if (rng.chance(0.7)) o.end_tokens = {0, 1};
  scenario.model.vocab = static_cast<int>(rng.between(3, 40));
  if (rng.chance(0.3)) scenario.model.broken_one_in = 60;
  scenario.model.memory = static_cast<int>(rng.below(3));
  // From steps that cost the same whatever is in them to such that cost by the row.
  scenario.time = {.step = microseconds(rng.below(400)), .row = microseconds(rng.below(40))};
  if (rng.chance(0.7)) o.max_step_stretch = 1.0 + rng.uniform();
  if (rng.chance(0.7)) {
    o.speculation = {.max_draft = static_cast<int>(rng.between(1, 9)),
                     .lookup_min = static_cast<int>(rng.between(1, 2)),
                     .lookup_max = static_cast<int>(rng.between(2, 4)),
                     .max_streams = static_cast<int>(rng.between(1, 16))};
  }
  add_draft_model(Rng(seed ^ 0xD4AF7), scenario);

  const int context =
      static_cast<int>(std::min<int64_t>(o.max_context, o.kv_blocks * o.block_size));
  const auto count = static_cast<RequestId>(rng.between(1, 40));
  const uint64_t gap = rng.below(6);
  uint64_t step = 0;
  for (RequestId id = 1; id <= count; ++id) {
    step += gap == 0 ? 0 : rng.below(gap * 2);
    Planned planned{random_request(rng, id, scenario.model, context), step, {}};
    if (rng.chance(0.15)) planned.cancelled = step + rng.below(60);
    if (rng.chance(0.1)) {
      planned.request.deadline = TimePoint(milliseconds(step + rng.below(80)));
    }
    scenario.requests.push_back(std::move(planned));
  }
  return scenario;
}

// Runs a scenario and checks what must hold meanwhile.
class Simulation {
 public:
  explicit Simulation(const Scenario& scenario)
      : scenario_(scenario),
        runner_(scenario.model, scenario.options.kv_blocks, scenario.options.block_size),
        draft_runner_(scenario.draft, scenario.options.draft.kv_blocks,
                      scenario.options.draft.block_size),
        core_(runner_, with_draft(scenario.options), clock_) {
    runner_.take_time(clock_, scenario.time);
    draft_runner_.take_time(clock_, scenario.draft_time);
  }

  void run() {
    for (uint64_t step = 0; next_ < scenario_.requests.size() || !core_.idle(); ++step) {
      ASSERT_LT(step, 200'000u) << "the simulation does not end";
      arrive(step);
      for (const Planned& p : scenario_.requests) {
        if (p.cancelled == step) cancel(p.request.id);
      }
      take(core_.step());
      if (testing::Test::HasFatalFailure()) return;
      core_.check_integrity();
      follow_elder(step);
      measure();
      clock_.advance(milliseconds(1));
    }
    EXPECT_EQ(core_.scheduler().pool().held_count(), 0);
  }

  const std::map<RequestId, Transcript>& transcripts() const { return transcripts_; }
  const EngineStats& stats() const { return core_.stats(); }
  const RequestBounds& bounds() const { return core_.bounds(); }
  bool drafted() const { return core_.drafter() != nullptr; }
  uint64_t rows() const { return runner_.rows(); }
  double waste() const { return allocated_ == 0 ? 0.0 : unused_ / allocated_; }

 private:
  void arrive(uint64_t step) {
    for (; next_ < scenario_.requests.size(); ++next_) {
      const Planned& planned = scenario_.requests[next_];
      if (planned.arrives > step) return;
      const auto checked = check_request(planned.request, core_.bounds());
      ASSERT_TRUE(checked) << checked.error().message();
      core_.add(planned.request, clock_.now());
      transcripts_[planned.request.id];
    }
  }

  void cancel(RequestId id) {
    core_.cancel(id);
    core_.check_integrity();
    // Within one step: what the cancelled one held is back before the next begins.
    for (const auto* group : {&core_.scheduler().waiting(), &core_.scheduler().running()}) {
      for (const Sequence* sequence : *group) EXPECT_NE(sequence->id, id);
    }
  }

  void take(const std::vector<StepOutput>& outputs) {
    for (const StepOutput& output : outputs) transcripts_.at(output.id).add(output);
  }

  void follow_elder(uint64_t step) {
    const Sequence* elder = core_.scheduler().elder();
    if (elder == nullptr) return;
    if (elder->arrival != elder_arrival_) {
      elder_arrival_ = elder->arrival;
      elder_since_ = step;
    }
    const auto rows = static_cast<uint64_t>(elder->max_size);
    EXPECT_LE(step - elder_since_, kElderPeriod * (rows + 1) + rows) << "starved " << elder->id;
  }

  void measure() {
    const int block_size = scenario_.options.block_size;
    allocated_ += double(core_.scheduler().pool().held_count()) * block_size;
    for (const Sequence* s : core_.scheduler().running()) {
      unused_ += double(s->blocks.size()) * block_size - s->computed;
    }
  }

  const Scenario& scenario_;
  ManualClock clock_;
  EngineOptions with_draft(EngineOptions options) {
    if (options.speculation.method == DraftMethod::kModel) options.draft.runner = &draft_runner_;
    return options;
  }

  PagedRunner runner_;
  PagedRunner draft_runner_;
  EngineCore core_;
  size_t next_ = 0;
  std::map<RequestId, Transcript> transcripts_;
  uint64_t elder_arrival_ = ~0ull;
  uint64_t elder_since_ = 0;
  double allocated_ = 0;
  double unused_ = 0;
};

bool in_full() { return std::getenv("SLUICE_LONG") != nullptr; }

void expect_as_alone(const Scenario& scenario, const Simulation& simulation) {
  for (const Planned& planned : scenario.requests) {
    const Request& request = planned.request;
    const Transcript& got = simulation.transcripts().at(request.id);
    const Transcript want =
        oracle(scenario.model, scenario.options.end_tokens, request, simulation.bounds().context());
    if (got.finish == FinishReason::kCancelled || got.finish == FinishReason::kDeadline) {
      EXPECT_TRUE(got.finish == FinishReason::kCancelled ? planned.cancelled.has_value()
                                                         : request.deadline.has_value());
      EXPECT_TRUE(starts(got.tokens, want.tokens)) << "request " << request.id;
      EXPECT_TRUE(starts(got.prompt_logprobs, want.prompt_logprobs));
      continue;
    }
    EXPECT_EQ(got.finish, want.finish) << "request " << request.id;
    EXPECT_EQ(got.stop_token, want.stop_token);
    EXPECT_EQ(got.error, want.error);
    EXPECT_TRUE(equal(got.tokens, want.tokens)) << "request " << request.id;
    EXPECT_TRUE(equal(got.prompt_logprobs, want.prompt_logprobs)) << "request " << request.id;
  }
}

TEST(Simulation, EveryRequestIsAnsweredAsIfItRanAlone) {
  const uint64_t seeds = in_full() ? 50'000 : 500;
  uint64_t steps = 0;
  uint64_t preemptions = 0;
  uint64_t hits = 0;
  uint64_t requests = 0;
  uint64_t drafts = 0;
  uint64_t accepted = 0;
  uint64_t guessed = 0;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Scenario scenario = random_scenario(seed);
    Simulation simulation(scenario);
    simulation.run();
    if (HasFatalFailure()) return;
    expect_as_alone(scenario, simulation);
    if (HasFailure()) return;
    steps += simulation.stats().steps;
    preemptions += simulation.stats().preemptions;
    hits += simulation.stats().prefix_hits;
    requests += scenario.requests.size();
    drafts += simulation.stats().draft_tokens;
    accepted += simulation.stats().accepted_drafts;
    if (simulation.drafted()) guessed += simulation.stats().accepted_drafts;
  }
  // The scenarios must reach what they are meant to test.
  EXPECT_GT(preemptions, seeds);
  EXPECT_GT(hits, seeds * 10);
  EXPECT_GT(accepted, seeds * 5);
  EXPECT_GT(drafts, accepted + seeds) << "and some are refused";
  EXPECT_GT(guessed, seeds) << "some of those right came from a model";
  RecordProperty("seeds", static_cast<int>(seeds));
  RecordProperty("requests", static_cast<int>(requests));
  RecordProperty("steps", static_cast<int>(steps));
  RecordProperty("preemptions", static_cast<int>(preemptions));
  RecordProperty("accepted_drafts", static_cast<int>(accepted));
  if (in_full()) {
    std::cerr << seeds << " seeds, " << requests << " requests, " << steps << " steps, "
              << preemptions << " preemptions, " << hits << " prefix hits, " << drafts
              << " draft rows, " << accepted << " of them right\n";
  }
}

// Lengths as chats have them, a pool under pressure.
Scenario realistic_scenario(uint64_t seed) {
  Rng rng(seed);
  Scenario scenario;
  scenario.options = {.max_sequences = 64,
                      .max_batched_tokens = 256,
                      .max_context = 2048,
                      .block_size = 16,
                      .kv_blocks = 1024};
  scenario.model.vocab = 16;
  for (RequestId id = 1; id <= 80; ++id) {
    Request request;
    request.id = id;
    request.prompt.resize(size_t(rng.between(50, 1000)));
    for (int32_t& token : request.prompt) token = static_cast<int32_t>(rng.below(16));
    request.sampling.temperature = 0.0;
    request.sampling.max_tokens = static_cast<int>(rng.between(20, 300));
    scenario.requests.push_back({std::move(request), id * 4, {}});
  }
  return scenario;
}

TEST(Simulation, WastesUnderFourPercentOfTheKvCache) {
  const Scenario scenario = realistic_scenario(7);
  Simulation simulation(scenario);
  simulation.run();
  expect_as_alone(scenario, simulation);
  RecordProperty("kv_waste_percent", std::to_string(simulation.waste() * 100));
  if (in_full()) std::cerr << "KV waste " << simulation.waste() * 100 << " %\n";
  EXPECT_GT(simulation.waste(), 0.0);
  EXPECT_LT(simulation.waste(), 0.04) << "unused of allocated slots";
}

TEST(Simulation, APrefixThatArrivesManyTimesAtOnceIsComputedOnce) {
  Scenario scenario;
  scenario.options.max_context = 2048;
  scenario.options.kv_blocks = 512;
  scenario.options.max_batched_tokens = 128;
  Rng rng(3);
  std::vector<int32_t> shared(1000);
  for (int32_t& token : shared) token = static_cast<int32_t>(rng.below(64));
  for (RequestId id = 1; id <= 16; ++id) {
    Request request;
    request.id = id;
    request.prompt = shared;
    request.prompt.push_back(static_cast<int32_t>(id));
    request.sampling.max_tokens = 8;
    scenario.requests.push_back({std::move(request), 0, {}});
  }
  Simulation simulation(scenario);
  simulation.run();
  expect_as_alone(scenario, simulation);
  // 62 full blocks are shared; each has its last 9 prompt tokens and 7 output tokens to compute.
  EXPECT_EQ(simulation.rows(), 62u * 16u + 16u * (9u + 7u));
}

TEST(Simulation, TheOneThatComputesASharedPrefixMayBeCancelled) {
  for (uint64_t when = 0; when < 12; ++when) {
    Scenario scenario;
    scenario.options.max_context = 1024;
    scenario.options.kv_blocks = 128;
    scenario.options.max_batched_tokens = 64;
    for (RequestId id = 1; id <= 4; ++id) {
      Request request;
      request.id = id;
      request.prompt.assign(500, 5);
      request.sampling.max_tokens = 4;
      scenario.requests.push_back({std::move(request), 0, {}});
    }
    scenario.requests[0].cancelled = when;
    Simulation simulation(scenario);
    simulation.run();
    expect_as_alone(scenario, simulation);
  }
}

// Text that repeats itself, in steps whose time hardly depends on their rows: speculation makes
// fewer steps of it, and the same tokens.
TEST(Simulation, SpeculationTakesFewerStepsForTheSameTokens) {
  uint64_t steps[2];
  for (const bool speculates : {false, true}) {
    Scenario scenario;
    scenario.options = {.max_context = 1024, .kv_blocks = 512};
    scenario.model.memory = 2;
    scenario.time = {.step = milliseconds(10), .row = microseconds(100)};
    if (speculates) scenario.options.speculation = {.max_draft = 8};
    for (RequestId id = 1; id <= 4; ++id) {
      Request request;
      request.id = id;
      request.prompt.assign(20, static_cast<int32_t>(id));
      request.sampling.temperature = 0.0;
      request.sampling.max_tokens = 900;
      scenario.requests.push_back({std::move(request), 0, {}});
    }
    Simulation simulation(scenario);
    simulation.run();
    expect_as_alone(scenario, simulation);
    steps[speculates] = simulation.stats().steps;
  }
  EXPECT_LT(steps[1] * 3, steps[0]);
}

// The time that one stream takes for text in which pairs of tokens repeat and nothing follows from
// them: n-gram drafts are found all the time and are wrong.
double seconds_of_random_text(const FakeTime& time, bool speculates) {
  EngineOptions options{.max_context = 1024, .kv_blocks = 64};
  if (speculates) options.speculation = {.max_draft = 8};
  ManualClock clock;
  PagedRunner runner({.vocab = 24}, options.kv_blocks, options.block_size);
  runner.take_time(clock, time);
  EngineCore core(runner, options, clock);
  Request request;
  request.id = 1;
  Rng rng(3);
  for (int i = 0; i < 300; ++i) request.prompt.push_back(static_cast<int32_t>(rng.below(24)));
  request.sampling.max_tokens = 400;
  request.sampling.seed = 9;
  core.add(std::move(request), clock.now());
  while (!core.idle()) core.step();
  return to_seconds(clock.now() - TimePoint());
}

TEST(Simulation, WrongDraftsCostUnderThreePercent) {
  for (const int row_microseconds : {1, 100, 300, 500, 1000, 3000}) {
    const FakeTime time{.step = milliseconds(10), .row = microseconds(row_microseconds)};
    const double without = seconds_of_random_text(time, false);
    const double with = seconds_of_random_text(time, true);
    EXPECT_GT(without / with, 0.97) << "rows of " << row_microseconds << " us";
  }
}

struct MixedLoad {
  std::vector<int64_t> alone;  // times of steps, microseconds
  std::vector<int64_t> mixed;
  int prompt_steps = 0;  // until the prompt's first token
};

// Eight streams run; then a prompt of 4,000 tokens arrives.
MixedLoad run_mixed_load(double max_stretch, const FakeTime& time) {
  EngineOptions options{.max_context = 8192, .kv_blocks = 2048};
  options.max_step_stretch = max_stretch;
  ManualClock clock;
  PagedRunner runner({}, options.kv_blocks, options.block_size);
  runner.take_time(clock, time);
  EngineCore core(runner, options, clock);
  const auto add = [&](RequestId id, int prompt) {
    Request request;
    request.id = id;
    Rng rng(id);
    for (int i = 0; i < prompt; ++i) request.prompt.push_back(static_cast<int32_t>(rng.below(64)));
    request.sampling.max_tokens = 8192 - prompt;
    core.add(std::move(request), clock.now());
  };
  const auto timed_step = [&](std::vector<int64_t>& times, RequestId awaited) {
    const TimePoint before = clock.now();
    bool seen = false;
    for (const StepOutput& output : core.step()) seen = seen || output.id == awaited;
    times.push_back((clock.now() - before) / microseconds(1));
    return seen;
  };
  for (RequestId id = 1; id <= 8; ++id) add(id, 40);
  MixedLoad load;
  std::vector<int64_t> learning;
  for (int i = 0; i < 20; ++i) timed_step(learning, 0);
  for (int i = 0; i < 100; ++i) timed_step(load.alone, 0);
  add(9, 4000);
  while (!timed_step(load.mixed, 9)) ++load.prompt_steps;
  core.cancel_all();
  return load;
}

TEST(Simulation, ALongPromptStretchesTheStepsOfStreamsByAQuarter) {
  const FakeTime time{.step = milliseconds(20), .row = microseconds(500)};
  MixedLoad load = run_mixed_load(1.25, time);
  const int64_t alone = *std::ranges::max_element(load.alone);
  std::ranges::sort(load.mixed);
  EXPECT_LE(load.mixed[load.mixed.size() * 99 / 100], alone * 13 / 10);
  // And no less than that is used.
  EXPECT_GE(load.mixed[load.mixed.size() / 2], alone * 6 / 5);
  const MixedLoad unbounded = run_mixed_load(0.0, time);
  EXPECT_GE(unbounded.mixed.front(), alone * 5);
}

}  // namespace
}  // namespace sluice::engine
