#include "model/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "formats/architecture.h"
#include "kernels/isa.h"
#include "model/fake_model.h"
#include "model/naive_forward.h"

namespace sluice::model {
namespace {

constexpr int kBlockSize = 4;
constexpr int kBlocks = 96;
constexpr uint64_t kSeed = 20240;

std::vector<int32_t> random_tokens(Rng& rng, int count, int vocab) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& t : tokens) t = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab)));
  return tokens;
}

// A sequence with its blocks and how far it has been run.
struct Sequence {
  std::vector<int32_t> tokens;
  std::vector<int32_t> blocks;
  int done = 0;
  std::vector<std::vector<float>> logits;  // by position
};

// Hands out blocks in a shuffled order, so that no test relies on neighbours.
class Blocks {
 public:
  explicit Blocks(uint64_t seed) : free_(kBlocks) {
    std::iota(free_.begin(), free_.end(), 0);
    Rng rng(seed);
    for (size_t i = free_.size() - 1; i > 0; --i) std::swap(free_[i], free_[rng.below(i + 1)]);
  }
  Sequence sequence(std::vector<int32_t> tokens) {
    Sequence s;
    s.tokens = std::move(tokens);
    const size_t count = (s.tokens.size() + kBlockSize - 1) / kBlockSize;
    s.blocks.assign(free_.end() - static_cast<ptrdiff_t>(count), free_.end());
    free_.resize(free_.size() - count);
    return s;
  }

 private:
  std::vector<int32_t> free_;
};

// Runs up to rows[i] further rows of sequences[i], in one batch, with logits of all of them.
void step(Model& model, std::vector<Sequence*> sequences, const std::vector<int>& rows) {
  Batch batch;
  for (size_t i = 0; i < sequences.size(); ++i) {
    Sequence& s = *sequences[i];
    const int count = std::min(rows[i], static_cast<int>(s.tokens.size()) - s.done);
    if (count == 0) continue;
    batch.slices.push_back({.first_row = static_cast<int>(batch.tokens.size()),
                            .rows = count,
                            .first_position = s.done,
                            .blocks = s.blocks});
    for (int r = 0; r < count; ++r) {
      batch.output_rows.push_back(static_cast<int32_t>(batch.tokens.size()));
      batch.tokens.push_back(s.tokens[static_cast<size_t>(s.done + r)]);
    }
  }
  const auto vocab = static_cast<size_t>(model.config().vocab);
  std::vector<float> logits(batch.output_rows.size() * vocab);
  model.forward(batch, logits);
  size_t row = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    Sequence& s = *sequences[i];
    const int count = std::min(rows[i], static_cast<int>(s.tokens.size()) - s.done);
    for (int r = 0; r < count; ++r, ++row) {
      const float* first = logits.data() + row * vocab;
      s.logits.emplace_back(first, first + vocab);
    }
    s.done += count;
  }
}

void run_in_chunks(Model& model, Sequence& s, int chunk) {
  while (s.done < static_cast<int>(s.tokens.size())) step(model, {&s}, {chunk});
}

std::unique_ptr<Model> load(const FakeSource& source, const FakeModel& fake, ThreadTeam& team,
                            KvType kv = KvType::kF32, kernels::Isa isa = kernels::best_isa()) {
  auto model = load_model(source,
                          {.isa = isa,
                           .kv_type = kv,
                           .block_size = kBlockSize,
                           .kv_blocks = kBlocks,
                           .max_batch_rows = 264,
                           .max_context = fake.max_context},
                          team);
  EXPECT_TRUE(model) << (model ? "" : model.error().message());
  return model ? *std::move(model) : nullptr;
}

class EveryModel : public testing::TestWithParam<FakeModel> {};

INSTANTIATE_TEST_SUITE_P(Models, EveryModel, testing::ValuesIn(fake_models()),
                         [](const auto& info) { return info.param.name; });

struct Error {
  double largest = 0;
  double rms = 0;
};

Error error_of(const Sequence& s, const NaiveForward::Rows& expected) {
  Error e;
  size_t count = 0;
  for (size_t p = 0; p < expected.size(); ++p) {
    for (size_t i = 0; i < expected[p].size(); ++i, ++count) {
      const double d = std::abs(s.logits[p][i] - expected[p][i]);
      e.largest = std::max(e.largest, d);
      e.rms += d * d;
    }
  }
  e.rms = std::sqrt(e.rms / static_cast<double>(count));
  return e;
}

TEST_P(EveryModel, AgreesWithTheNaiveForward) {
  const FakeModel& fake = GetParam();
  const FakeSource source = fake_source(fake.config, kSeed);
  ThreadTeam team(1);
  Rng rng(1);
  const std::vector<int32_t> tokens = random_tokens(rng, 24, fake.config.vocab);
  const NaiveForward::Rows expected = NaiveForward(source, fake.max_context).run(tokens);
  double spread = 0;
  for (const double v : expected.back()) spread = std::max(spread, std::abs(v));
  ASSERT_GT(spread, 0.5) << "logits that say nothing would agree by themselves";

  for (const kernels::Isa isa : kernels::supported_isas()) {
    const auto error = [&](KvType kv) {
      const auto model = load(source, fake, team, kv, isa);
      Sequence s = Blocks(3).sequence(tokens);
      run_in_chunks(*model, s, 24);
      return error_of(s, expected);
    };
    SCOPED_TRACE(kernels::isa_name(isa));
    // Logits have size 1 to 4. Float32 rounds to 6e-8 of that at each of some dozens of sums; F16
    // keeps 11 bits of K and V, BF16 8, int8 less than 8. Coarse K and V may also turn a router's
    // choice between two near-equal experts in single rows, hence the mean.
    EXPECT_LT(error(KvType::kF32).largest, 1e-5);
    EXPECT_LT(error(KvType::kF16).rms, 2e-3);
    EXPECT_LT(error(KvType::kBf16).rms, 1.6e-2);
    EXPECT_LT(error(KvType::kInt8).rms, 4e-2);
  }
}

// The determinism promise: a sequence's logits, bit for bit, however it is run.
class Determinism {
 public:
  Determinism(const FakeModel& fake, KvType kv, kernels::Isa isa)
      : source_(fake_source(fake.config, kSeed)),
        one_(load(source_, fake, team1_, kv, isa)),
        two_(load(source_, fake, team2_, kv, isa)) {
    Rng rng(7);
    for (const int length : {22, 9, 30, 17}) {
      prompts_.push_back(random_tokens(rng, length, fake.config.vocab));
    }
    Sequence alone = Blocks(11).sequence(prompts_[0]);
    run_in_chunks(*one_, alone, 64);
    expected_ = std::move(alone.logits);
  }

  void expect_same(const Sequence& s, const std::string& how) const {
    ASSERT_EQ(s.logits.size(), expected_.size()) << how;
    for (size_t p = 0; p < expected_.size(); ++p) {
      ASSERT_EQ(
          std::memcmp(s.logits[p].data(), expected_[p].data(), expected_[p].size() * sizeof(float)),
          0)
          << how << ", position " << p;
    }
  }

  void check_chunks() {
    for (const int chunk : {1, 3, 7, 16}) {
      for (Model* model : {one_.get(), two_.get()}) {
        if (model == two_.get() && chunk != 7) continue;
        Sequence s = Blocks(100 + static_cast<uint64_t>(chunk)).sequence(prompts_[0]);
        run_in_chunks(*model, s, chunk);
        expect_same(s, "chunks of " + std::to_string(chunk));
      }
    }
  }

  void check_company() {
    for (const size_t place : {0u, 1u, 3u}) {
      for (Model* model : {one_.get(), two_.get()}) {
        if (model == two_.get() && place != 1) continue;
        Blocks blocks(50 + place);
        std::vector<Sequence> all;
        for (size_t i = 1; i < prompts_.size(); ++i) all.push_back(blocks.sequence(prompts_[i]));
        all.insert(all.begin() + static_cast<ptrdiff_t>(place), blocks.sequence(prompts_[0]));
        std::vector<Sequence*> pointers;
        for (Sequence& s : all) pointers.push_back(&s);
        // Decode rows beside chunks of other lengths, another mix at every step.
        Rng rng(place);
        while (all[place].done < static_cast<int>(prompts_[0].size())) {
          std::vector<int> rows;
          for (size_t i = 0; i < all.size(); ++i) rows.push_back(static_cast<int>(rng.below(8)));
          rows[place] = std::max(rows[place], 1);
          step(*model, pointers, rows);
        }
        expect_same(all[place], "among others, place " + std::to_string(place));
      }
    }
  }

 private:
  FakeSource source_;
  ThreadTeam team1_{1};
  ThreadTeam team2_{2};
  std::unique_ptr<Model> one_;
  std::unique_ptr<Model> two_;
  std::vector<std::vector<int32_t>> prompts_;
  std::vector<std::vector<float>> expected_;
};

TEST_P(EveryModel, LogitsDoNotDependOnBatchChunksBlocksOrThreads) {
  for (const kernels::Isa isa : kernels::supported_isas()) {
    for (const KvType kv : {KvType::kF32, KvType::kF16, KvType::kBf16, KvType::kInt8}) {
      SCOPED_TRACE(std::string(kernels::isa_name(isa)) + " kv " +
                   std::to_string(static_cast<int>(kv)));
      Determinism test(GetParam(), kv, isa);
      test.check_chunks();
      test.check_company();
    }
  }
}

// More rows than a mixture's experts take at once.
TEST_P(EveryModel, ManyRowsOfABatchGiveTheSameLogits) {
  const FakeModel& fake = GetParam();
  const FakeSource source = fake_source(fake.config, kSeed);
  ThreadTeam team(2);
  const auto model = load(source, fake, team);
  Rng rng(9);
  Blocks blocks(4);
  std::vector<Sequence> all;
  std::vector<Sequence*> pointers;
  for (int i = 0; i < 6; ++i) {
    all.push_back(blocks.sequence(random_tokens(rng, 44, fake.config.vocab)));
  }
  for (Sequence& s : all) pointers.push_back(&s);
  step(*model, pointers, std::vector<int>(all.size(), 44));
  for (const Sequence& s : all) {
    Sequence alone{.tokens = s.tokens, .blocks = s.blocks, .done = 0, .logits = {}};
    run_in_chunks(*model, alone, 5);
    ASSERT_EQ(s.logits, alone.logits);
  }
}

TEST_P(EveryModel, GivesLogitsOfTheRowsAskedForOnly) {
  const FakeModel& fake = GetParam();
  const FakeSource source = fake_source(fake.config, kSeed);
  ThreadTeam team(1);
  const auto model = load(source, fake, team);
  ASSERT_NE(model, nullptr);
  Rng rng(5);
  Blocks blocks(1);
  Sequence all = blocks.sequence(random_tokens(rng, 10, fake.config.vocab));
  run_in_chunks(*model, all, 10);

  Sequence some = blocks.sequence(all.tokens);
  const auto vocab = static_cast<size_t>(fake.config.vocab);
  Batch batch{.tokens = {some.tokens.begin(), some.tokens.begin() + 6},
              .slices = {{.first_row = 0, .rows = 6, .first_position = 0, .blocks = some.blocks}},
              .output_rows = {}};
  model->forward(batch, {});  // a chunk that does not end its prompt
  batch.tokens.assign(some.tokens.begin() + 6, some.tokens.end());
  batch.slices = {{.first_row = 0, .rows = 4, .first_position = 6, .blocks = some.blocks}};
  batch.output_rows = {1, 3};
  std::vector<float> logits(2 * vocab);
  model->forward(batch, logits);
  EXPECT_EQ(std::vector(logits.begin(), logits.begin() + fake.config.vocab), all.logits[7]);
  EXPECT_EQ(std::vector(logits.begin() + fake.config.vocab, logits.end()), all.logits[9]);
}

TEST(LoadModel, RefusesAnUnknownArchitectureByName) {
  FakeModel fake = fake_models().front();
  fake.config.architecture = "rwkv";
  const FakeSource source = fake_source(fake.config, kSeed);
  ThreadTeam team(1);
  const auto model = load_model(source, {.kv_blocks = 1}, team);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code(), Code::kUnimplemented);
  for (const std::string_view name : architectures()) {
    EXPECT_NE(model.error().message().find(name), std::string::npos) << name;
  }
  EXPECT_NE(model.error().message().find("rwkv"), std::string::npos);
}

TEST(LoadModel, KnowsEveryArchitectureThatIsRead) {
  std::vector<std::string_view> read;
  for (const formats::Architecture& a : formats::architectures()) read.push_back(a.name);
  std::ranges::sort(read);
  EXPECT_TRUE(std::ranges::equal(read, architectures()));
}

TEST(LoadModel, ListsAllThatIsMissingWrongOrLeftOver) {
  const FakeModel fake = fake_models().front();
  FakeSource source = fake_source(fake.config, kSeed);
  source.erase("blk.1.attn_k.weight");
  source.erase("output_norm.weight");
  source.put_matrix("blk.2.ffn_up.weight", {5, fake.config.width});
  source.put("blk.0.attn_sinks.weight", {4}, 1.0);
  ThreadTeam team(1);
  const auto model = load_model(source, {.kv_blocks = 1}, team);
  ASSERT_FALSE(model);
  const std::string& message = model.error().message();
  for (const char* part :
       {"blk.1.attn_k.weight is missing", "output_norm.weight is missing",
        "blk.2.ffn_up.weight is {5, 36}, expected {43, 36}", "blk.0.attn_sinks.weight"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
  }
}

TEST(LoadModel, RequiresTheBiasesOfQwen2) {
  for (const FakeModel& fake : fake_models()) {
    if (fake.config.architecture != "qwen2") continue;
    FakeSource source = fake_source(fake.config, kSeed);
    source.erase("blk.0.attn_v.bias");
    ThreadTeam team(1);
    const auto model = load_model(source, {.kv_blocks = 1}, team);
    ASSERT_FALSE(model);
    EXPECT_NE(model.error().message().find("blk.0.attn_v.bias is missing"), std::string::npos);
  }
}

TEST(LoadModel, RefusesConfigurationsThatCannotRun) {
  const std::function<void(formats::ModelConfig&, ModelOptions&)> spoils[] = {
      [](auto& c, auto&) { c.rope.dim = 7; },
      [](auto& c, auto&) { c.rope.dim = 10; },
      [](auto& c, auto&) { c.kv_heads = 3; },
      [](auto& c, auto&) { c.rope.freq_divisors = {1.0f, 2.0f}; },
      [](auto& c, auto&) { c.rope.scaling = formats::RopeScaling::kLongRope; },
      [](auto& c, auto&) { c.rope.factor = 0.0f; },
      [](auto& c, auto&) { c.window_layers = {true}; },
      [](auto& c, auto&) { c.moe = {.experts = 2, .used = 3, .ffn = 4}; },
      [](auto&, auto& o) { o.kv_blocks = 0; },
      [](auto&, auto& o) { o.kv_blocks = int64_t{1} << 60; },
      [](auto&, auto& o) { o.kv_blocks = int64_t{1} << 40; },  // beyond the address space
  };
  ThreadTeam team(1);
  for (size_t i = 0; i < std::size(spoils); ++i) {
    formats::ModelConfig config = fake_models().front().config;
    const FakeSource tensors = fake_source(config, kSeed);
    ModelOptions options{.kv_blocks = 4};
    spoils[i](config, options);
    FakeSource source(config, kSeed);
    for (const auto& [name, view] : tensors.tensors()) source.put(name, view.shape, 1.0);
    EXPECT_FALSE(load_model(source, options, team)) << i;
  }
}

TEST(Model, CountsParametersAndBytes) {
  const FakeModel fake = fake_models().front();
  FakeSource source = fake_source(fake.config, kSeed);
  const int64_t block = 36 * 32 + 2 * 36 * 16 + 32 * 36 + 3 * 36 * 43 + 2 * 36;
  EXPECT_EQ(parameter_count(source), 2 * 61 * 36 + 36 + 3 * block);
  // The reference uses weights as they are stored, but the table of embeddings is read from the
  // file.
  const int64_t stored = 4 * (61 * 36 + 36 + 3 * block);
  EXPECT_EQ(weight_memory_bytes(source, kernels::Isa::kReference), stored);
  // Panels of 32 columns, of which 16 fill half of one and 43 a third of the second, and of as many
  // rows.
  EXPECT_GT(weight_memory_bytes(source, kernels::best_isa()), stored);
  EXPECT_LT(weight_memory_bytes(source, kernels::best_isa()), 3 * stored);
  source.put("rope_freqs.weight", {4}, 1.0);
  EXPECT_EQ(parameter_count(source), 2 * 61 * 36 + 36 + 3 * block);
  // 3 layers, K and V, 2 heads of 8 floats, 4 positions.
  EXPECT_EQ(kv_block_bytes(fake.config, KvType::kF32, 4), 3 * 2 * 2 * 8 * 4 * 4);
  EXPECT_EQ(kv_block_bytes(fake.config, KvType::kBf16, 4), 3 * 2 * 2 * 8 * 4 * 2);
}

}  // namespace
}  // namespace sluice::model
