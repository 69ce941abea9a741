// The determinism promise over a real forward pass: a request's tokens and logprobs are the same
// bits alone, among 31 others, with any chunk size, after a prefix-cache hit, after preemption,
// with one and with two threads, with and without speculation and a draft model, in steps whose
// size follows the clock; greedy and sampled; for every type of KV cache.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/thread_team.h"
#include "engine/core.h"
#include "engine/test_support.h"
#include "formats/model_source.h"
#include "model/fake_model.h"
#include "model/model.h"

namespace sluice::engine {
namespace {

constexpr int kContext = 160;
constexpr int kMaxRows = 512;
constexpr int64_t kRoomy = 32 * kContext / 16;

struct Setting {
  std::string name;
  int rows = kMaxRows;  // of a step
  int64_t blocks = kRoomy;
  int threads = 1;
  bool prefix_caching = false;
  bool one_by_one = false;
  int drafts = 0;
  double stretch = 0.0;
  bool draft_model = false;
};

// Time that passes by the row, so that chunks and drafts vary from step to step as they do under a
// real clock, and a failure can be repeated.
class TimedRunner final : public Runner {
 public:
  TimedRunner(Runner& inner, ManualClock& clock, const FakeTime& time)
      : inner_(inner), clock_(clock), time_(time) {}
  int vocab() const override { return inner_.vocab(); }
  void forward(const model::Batch& batch, std::span<float> logits) override {
    inner_.forward(batch, logits);
    clock_.advance(time_.of(batch.tokens.size()));
  }

 private:
  Runner& inner_;
  ManualClock& clock_;
  const FakeTime time_;
};

std::vector<Request> make_requests(int vocab) {
  Rng rng(17);
  std::vector<int32_t> shared(48);
  const auto token = [&] { return static_cast<int32_t>(rng.below(uint64_t(vocab))); };
  for (int32_t& t : shared) t = token();
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 32; ++id) {
    Request r;
    r.id = id;
    if (id % 2 == 0) r.prompt = shared;
    for (int64_t i = rng.between(1, 40); i > 0; --i) r.prompt.push_back(token());
    r.sampling.max_tokens = static_cast<int>(rng.between(20, 60));
    r.sampling.seed = rng.next();
    r.sampling.logprobs = 3;
    r.sampling.temperature = id % 3 == 0 ? 0.0 : 1.0;
    if (id % 4 == 1) r.sampling.top_k = 20;
    if (id % 4 == 2) r.sampling.top_p = 0.9;
    if (id % 5 == 0) r.sampling.repetition_penalty = 1.3;
    if (id % 8 == 0) r.sampling.prompt_logprobs = 2;
    requests.push_back(std::move(r));
  }
  return requests;
}

class ModelUnderTest {
 public:
  ModelUnderTest(const formats::ModelSource& source, model::KvType kv_type)
      : source_(source), kv_type_(kv_type), requests_(make_requests(source.config().vocab)) {}

  struct Run {
    std::map<RequestId, Transcript> transcripts;
    EngineStats stats;
  };

  Run run(const Setting& setting) {
    ThreadTeam team(setting.threads);
    auto model = model::load_model(source_,
                                   {.kv_type = kv_type_,
                                    .block_size = 16,
                                    .kv_blocks = setting.blocks,
                                    .max_batch_rows = kMaxRows},
                                   team);
    EXPECT_TRUE(model) << model.error().message();
    ModelRunner model_runner(**model);
    ManualClock clock;
    TimedRunner runner(model_runner, clock,
                       {std::chrono::milliseconds(5), std::chrono::microseconds(100)});
    EngineOptions options{.max_sequences = 32,
                          .max_batched_tokens = setting.rows,
                          .max_context = kContext,
                          .block_size = 16,
                          .kv_blocks = setting.blocks,
                          .prefix_caching = setting.prefix_caching,
                          .max_step_stretch = setting.stretch,
                          .speculation = {.max_draft = setting.drafts, .lookup_min = 1},
                          .team = &team};
    const auto draft = draft_model(team);
    ModelRunner draft_runner(*draft);
    TimedRunner timed_draft(draft_runner, clock,
                            {std::chrono::microseconds(500), std::chrono::microseconds(10)});
    if (setting.draft_model) {
      options.speculation.method = DraftMethod::kModel;
      options.draft = {.runner = &timed_draft,
                       .block_size = 16,
                       .kv_blocks = kRoomy / 2,
                       .max_rows = 48,
                       .max_context = kContext};
    }
    EngineCore core(runner, options, clock);
    Run run;
    for (const Request& request : requests_) {
      core.add(request, {});
      if (setting.one_by_one) finish(core, run);
    }
    finish(core, run);
    run.stats = core.stats();
    return run;
  }

  void expect_same(const Run& got, const Run& want) const {
    for (const Request& request : requests_) {
      const Transcript& a = got.transcripts.at(request.id);
      const Transcript& b = want.transcripts.at(request.id);
      EXPECT_TRUE(equal(a.tokens, b.tokens)) << "tokens of request " << request.id;
      EXPECT_TRUE(equal(a.prompt_logprobs, b.prompt_logprobs)) << "prompt of " << request.id;
      EXPECT_EQ(a.finish, b.finish);
    }
  }

 private:
  // Nearly the model: with coarser K and V, or finer ones.
  std::unique_ptr<model::Model> draft_model(ThreadTeam& team) const {
    const bool coarse = kv_type_ == model::KvType::kInt8;
    auto draft = model::load_model(source_,
                                   {.kv_type = coarse ? model::KvType::kF16 : model::KvType::kInt8,
                                    .block_size = 16,
                                    .kv_blocks = kRoomy / 2,
                                    .max_batch_rows = 48},
                                   team);
    EXPECT_TRUE(draft) << draft.error().message();
    return *std::move(draft);
  }

  static void finish(EngineCore& core, Run& run) {
    while (!core.idle()) {
      for (const StepOutput& output : core.step()) run.transcripts[output.id].add(output);
    }
  }

  const formats::ModelSource& source_;
  const model::KvType kv_type_;
  const std::vector<Request> requests_;
};

const std::vector<Setting> kEverySetting = {
    {.name = "alone, small chunks, two threads", .rows = 5, .threads = 2, .one_by_one = true},
    {.name = "32 together"},
    {.name = "32 together, odd chunks, two threads", .rows = 61, .threads = 2},
    {.name = "prefix cache", .rows = 256, .prefix_caching = true},
    {.name = "prefix cache, one after the other", .prefix_caching = true, .one_by_one = true},
    {.name = "preemption", .rows = 96, .blocks = 24, .threads = 2},
    {.name = "preemption and prefix cache", .rows = 64, .blocks = 20, .prefix_caching = true},
    {.name = "alone, speculating", .one_by_one = true, .drafts = 7},
    {.name = "32 together, speculating, steps that follow the clock",
     .threads = 2,
     .drafts = 4,
     .stretch = 1.2},
    {.name = "a draft model", .threads = 2, .drafts = 4, .stretch = 1.2, .draft_model = true},
    {.name = "a draft model, preemption and prefix cache",
     .rows = 64,
     .blocks = 20,
     .prefix_caching = true,
     .drafts = 4,
     .draft_model = true},
    {.name = "all of it",
     .rows = 64,
     .blocks = 20,
     .threads = 2,
     .prefix_caching = true,
     .drafts = 4,
     .stretch = 1.5},
};

// The same differences in fewer runs, for a model that takes its time.
const std::vector<Setting> kFewSettings = {
    {.name = "32 together, odd chunks, two threads", .rows = 61, .threads = 2},
    {.name = "preemption, prefix cache and speculation",
     .rows = 64,
     .blocks = 16,
     .prefix_caching = true,
     .drafts = 6,
     .stretch = 1.2},
    {.name = "alone, speculating", .one_by_one = true, .drafts = 7},
    {.name = "a draft model", .threads = 2, .drafts = 4, .draft_model = true},
};

void expect_determinism(const formats::ModelSource& source, model::KvType kv_type,
                        const std::vector<Setting>& settings) {
  ModelUnderTest model(source, kv_type);
  const auto alone = model.run({.name = "alone", .one_by_one = true});
  // The reference says something: sampled requests differ from each other.
  EXPECT_FALSE(equal(alone.transcripts.at(1).tokens, alone.transcripts.at(2).tokens));
  for (const Setting& setting : settings) {
    SCOPED_TRACE(setting.name);
    const auto run = model.run(setting);
    model.expect_same(run, alone);
    EXPECT_EQ(run.stats.prefix_hits > 0, setting.prefix_caching);
    EXPECT_EQ(run.stats.preemptions > 0, setting.blocks < kRoomy);
    EXPECT_EQ(run.stats.accepted_drafts > 0, setting.drafts > 0);
    if (setting.draft_model) continue;  // it may be right every time
    EXPECT_EQ(run.stats.draft_tokens > run.stats.accepted_drafts, setting.drafts > 0);
  }
}

std::string kv_name(const testing::TestParamInfo<model::KvType>& info) {
  constexpr const char* kNames[] = {"F32", "F16", "Bf16", "Int8"};
  return kNames[static_cast<int>(info.param)];
}

// Random weights: flat distributions, where a last bit decides often.
class DeterminismOfARandomModel : public testing::TestWithParam<model::KvType> {};
class DeterminismOfTheBundledModel : public testing::TestWithParam<model::KvType> {};

INSTANTIATE_TEST_SUITE_P(KvTypes, DeterminismOfARandomModel,
                         testing::Values(model::KvType::kF32, model::KvType::kF16,
                                         model::KvType::kBf16, model::KvType::kInt8),
                         kv_name);
INSTANTIATE_TEST_SUITE_P(KvTypes, DeterminismOfTheBundledModel,
                         testing::Values(model::KvType::kF16, model::KvType::kInt8), kv_name);

TEST_P(DeterminismOfARandomModel, Holds) {
  formats::ModelConfig config = model::fake_config("qwen3");
  config.context = kContext;
  const model::FakeSource source = model::fake_source(config, 5);
  expect_determinism(source, GetParam(), kEverySetting);
}

TEST_P(DeterminismOfTheBundledModel, Holds) {
  const auto source = formats::open_model(std::string(SLUICE_SOURCE_DIR) + "/models/story.gguf");
  ASSERT_TRUE(source) << source.error().message();
  expect_determinism(**source, GetParam(), kFewSettings);
}

}  // namespace
}  // namespace sluice::engine
