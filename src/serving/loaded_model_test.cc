#include "serving/loaded_model.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"
#include "base/ids.h"
#include "kernels/ops.h"
#include "text/tokenizer_test_support.h"

namespace sluice::serving {
namespace {

namespace fs = std::filesystem;

const char* const kStory = SLUICE_SOURCE_DIR "/models/story.gguf";

class LoadedModelTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / new_id("sluice-loaded-");
    fs::create_directory(folder_);
    fs::copy_file(kStory, folder_ / "story.gguf");
    settings_.kv_cache_bytes = 16 << 20;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::unique_ptr<LoadedModel> load() {
    auto loaded = LoadedModel::load({folder_ / "story.gguf", {"story"}}, settings_, team_);
    EXPECT_TRUE(loaded) << loaded.error().message();
    return *std::move(loaded);
  }
  // Files of repacked weights in a folder.
  static int kept(const fs::path& folder) {
    int count = 0;
    if (!fs::exists(folder)) return 0;
    for (const auto& entry : fs::directory_iterator(folder)) {
      count += entry.path().extension() == ".repacked" ? 1 : 0;
    }
    return count;
  }
  static std::vector<float> logits(LoadedModel& loaded) {
    const std::vector<int32_t> blocks = {0};
    model::Batch batch;
    batch.tokens = {5, 6, 7};
    batch.slices = {{.first_row = 0, .rows = 3, .first_position = 0, .blocks = blocks}};
    batch.output_rows = {2};
    std::vector<float> out(static_cast<size_t>(loaded.source().config().vocab));
    loaded.model().forward(batch, out);
    return out;
  }
  static bool repacks() {
    return kernels::repacked_bytes(tensor::DType::kQ8_0, 32, 64, kernels::best_isa()) > 0;
  }

  ThreadTeam team_{2};
  ModelSettings settings_;
  fs::path folder_;
};

TEST_F(LoadedModelTest, KAndVAreStoredAsIsAskedForOrAsSuitsTheProcessor) {
  for (const kernels::Isa isa : kernels::supported_isas()) {
    settings_.isa = isa;
    settings_.kv_type.reset();
    const bool in_pairs = kernels::multiplies_bf16_pairs(isa);
    EXPECT_EQ(load()->kv_type(), in_pairs ? model::KvType::kBf16 : model::KvType::kF16);
    settings_.kv_type = model::KvType::kInt8;
    EXPECT_EQ(load()->kv_type(), model::KvType::kInt8);
  }
}

TEST_F(LoadedModelTest, RepackedWeightsAreKeptOnlyWhereItIsAskedFor) {
  const auto plain = load();
  plain->wait_until_cached();
  EXPECT_EQ(kept(folder_), 0);
  if (!repacks()) GTEST_SKIP() << "this processor's kernels repack nothing";
  for (const fs::path& asked : {folder_ / "a" / "b", fs::path(kBesideModel)}) {
    settings_.weights_cache_dir = asked;
    const auto first = load();
    first->wait_until_cached();
    EXPECT_EQ(kept(asked == kBesideModel ? folder_ : asked), 1);
    const auto second = load();
    EXPECT_EQ(logits(*second), logits(*plain));
    EXPECT_EQ(second->fingerprint(), plain->fingerprint()) << "the same numbers";
  }
}

TEST_F(LoadedModelTest, AFolderThatCannotBeWrittenIsNoFailure) {
  settings_.weights_cache_dir = folder_ / "story.gguf" / "x";
  const auto loaded = load();
  loaded->wait_until_cached();
  EXPECT_FALSE(logits(*loaded).empty());
}

TEST_F(LoadedModelTest, ADraftModelMustHaveTheSameTokens) {
  settings_.speculation = {.method = engine::DraftMethod::kModel, .max_draft = 4};
  settings_.draft_model = folder_ / "story.gguf";
  const auto loaded = load();
  ASSERT_NE(loaded->draft(), nullptr);
  EXPECT_LE(loaded->draft()->options().kv_blocks, loaded->kv_blocks());
  EXPECT_LE(loaded->kv_bytes(), settings_.kv_cache_bytes) << "both caches";
  settings_.draft_model = folder_ / "none.gguf";
  const auto missing = LoadedModel::load({folder_ / "story.gguf", {"story"}}, settings_, team_);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message().find("draft model"), std::string::npos);
}

TEST(Vocabulary, IsTheSameOrIsNot) {
  const auto tokenizer = [](const std::vector<std::string>& special) {
    text::TokenizerSpec spec = text::byte_spec({}, special);
    EXPECT_TRUE(text::complete_spec(spec));
    auto made = text::Tokenizer::create(std::move(spec));
    EXPECT_TRUE(made) << made.error().message();
    return *std::move(made);
  };
  const auto model = tokenizer({"a", "b"});
  EXPECT_TRUE(check_same_vocabulary(*model, *tokenizer({"a", "b"})));
  EXPECT_TRUE(check_same_vocabulary(*model, *tokenizer({"a", "b", "<pad>"})));
  const Outcome other = check_same_vocabulary(*model, *tokenizer({"a", "x"}));
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message().find("token 257 is 'x', the model's is 'b'"),
            std::string::npos);
  std::vector<std::string> many = {"a", "b"};
  for (int i = 0; i <= kMostPadding; ++i) many.push_back("w" + std::to_string(i));
  EXPECT_FALSE(check_same_vocabulary(*model, *tokenizer(many)));
}

}  // namespace
}  // namespace sluice::serving
