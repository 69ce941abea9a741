// Our distributions against those of an independent engine, for every architecture and every
// weight format. README.md tells what is compared and where the bounds come from.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iostream>
#include <numeric>

#include "base/files.h"
#include "base/json.h"
#include "compare.h"
#include "formats/model_source.h"
#include "golden.h"
#include "model/model.h"
#include "perturbed.h"

namespace sluice::parity {
namespace {

namespace fs = std::filesystem;

constexpr int kBlockSize = 16;
constexpr size_t kGreedyPrompt = 8;
constexpr uint64_t kNoiseSeed = 11;
// Times the rounding. F32's is so small that the golden files' own rounding covers four of it.
constexpr double kTooMuch = 4.0;
constexpr double kTooMuchF32 = 400.0;
// The mean over the 16 positions kept whole varies more than the one over all 512.
constexpr double kFewPositions = 3.0;

fs::path golden_folder() { return SLUICE_PARITY_GOLDEN; }
fs::path model_folder() { return SLUICE_PARITY_MODELS; }

std::vector<std::string> golden_models() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(golden_folder())) {
    const fs::path& path = entry.path();
    if (path.extension() == ".json" && path.stem() != "prompts") out.push_back(path.stem());
  }
  std::ranges::sort(out);
  return out;
}

json::object manifest() {
  const auto text = read_file(model_folder() / "manifest.json", 1u << 20);
  const auto value = text ? parse_json(*text) : std::unexpected(text.error());
  return value ? value->as_object() : json::object();
}

// Those that the generator also writes as Hugging Face folders.
std::vector<std::string> folder_models() {
  std::vector<std::string> out;
  const json::object all = manifest();
  for (const auto& [name, entry] : all.at("models").as_object()) {
    if (entry.as_object().at("hf").as_bool()) out.emplace_back(name);
  }
  return out;
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

ThreadTeam& team() {
  static ThreadTeam instance(2);
  return instance;
}

std::unique_ptr<model::Model> load(const formats::ModelSource& source, const Golden& golden,
                                   kernels::Isa isa) {
  auto loaded = model::load_model(source,
                                  {.isa = isa,
                                   .kv_type = model::KvType::kF32,
                                   .block_size = kBlockSize,
                                   .kv_blocks = golden.context / kBlockSize,
                                   .max_batch_rows = golden.context,
                                   .max_context = golden.context},
                                  team());
  EXPECT_TRUE(loaded) << (loaded ? "" : loaded.error().message());
  return loaded ? *std::move(loaded) : nullptr;
}

// Logits of the last rows of `tokens`, which follow `first_position` tokens run before.
void forward(model::Model& model, std::span<const int32_t> tokens, int first_position,
             std::vector<int32_t> output_rows, std::span<float> logits) {
  std::vector<int32_t> blocks(static_cast<size_t>(model.options().kv_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  model.forward({.tokens = {tokens.begin(), tokens.end()},
                 .slices = {{.first_row = 0,
                             .rows = static_cast<int>(tokens.size()),
                             .first_position = first_position,
                             .blocks = blocks}},
                 .output_rows = std::move(output_rows)},
                logits);
}

std::vector<float> teacher_forced(model::Model& model,
                                  const std::vector<std::vector<int32_t>>& prompts) {
  const auto vocab = static_cast<size_t>(model.config().vocab);
  std::vector<float> out;
  for (const std::vector<int32_t>& prompt : prompts) {
    std::vector<int32_t> rows(prompt.size());
    std::iota(rows.begin(), rows.end(), 0);
    const size_t begin = out.size();
    out.resize(begin + prompt.size() * vocab);
    forward(model, prompt, 0, rows, std::span(out).subspan(begin));
  }
  return out;
}

std::vector<int32_t> greedy(model::Model& model, std::span<const int32_t> prompt, size_t count) {
  std::vector<float> logits(static_cast<size_t>(model.config().vocab));
  std::vector<int32_t> fresh(prompt.begin(), prompt.end());
  std::vector<int32_t> out;
  int position = 0;
  while (out.size() < count) {
    const int rows = static_cast<int>(fresh.size());
    forward(model, fresh, position, {rows - 1}, logits);
    position += rows;
    out.push_back(static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin()));
    fresh = {out.back()};
  }
  return out;
}

class Parity : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto read = read_golden(golden_folder() / (GetParam() + ".json"));
    ASSERT_TRUE(read) << read.error().message();
    golden_ = *std::move(read);
    auto prompts = read_prompts(golden_folder() / "prompts.json");
    ASSERT_TRUE(prompts) << prompts.error().message();
    prompts_ = *std::move(prompts);
    const json::object models = manifest()["models"].as_object();
    ASSERT_TRUE(models.contains(GetParam())) << "tools/parity/generate.py makes no such model";
    const json::object& entry = models.at(GetParam()).as_object();
    ASSERT_EQ(std::string_view(entry.at("sha256").as_string()), golden_.sha256)
        << "the generator's model is another than the one the golden file was made from";
  }

  std::vector<float> run(const formats::ModelSource& source, kernels::Isa isa) {
    const auto model = load(source, golden_, isa);
    return model == nullptr ? std::vector<float>() : teacher_forced(*model, prompts_);
  }

  Bound bound(const formats::ModelSource& source) {
    // Both in F32, so that our own rounding of activations widens no bound.
    const PerturbedSource exact(source, kNoiseSeed, 0.0);
    const PerturbedSource perturbed(source, kNoiseSeed);
    const kernels::Isa isa = kernels::best_isa();
    return bound_from(golden_, run(exact, isa), run(perturbed, isa));
  }

  void check(const formats::ModelSource& source, kernels::Isa isa, const Bound& bound) {
    const auto model = load(source, golden_, isa);
    ASSERT_NE(model, nullptr);
    const std::string label =
        fmt::format("{} {} {}", GetParam(), source.format(), kernels::isa_name(isa));
    const Errors e = compare(golden_, teacher_forced(*model, prompts_), bound);
    std::cout << fmt::format(
        "{}: log-probability off by at most {:.2g} (bound {:.2g}), rms {:.2g} ({:.2g}); KL {:.2g} "
        "({:.2g}); gap above the bound at {:.0f} % of positions\n",
        label, e.logprob_max, bound.logprob_max, e.logprob_rms, bound.logprob_rms, e.kl_mean,
        bound.kl_mean, 100.0 * e.decided / e.positions);
    ASSERT_EQ(static_cast<size_t>(e.positions) * static_cast<size_t>(golden_.top),
              golden_.likely.size());
    EXPECT_GE(e.positions, 8 * 64);
    EXPECT_LE(e.logprob_max, bound.logprob_max) << label;
    EXPECT_LE(e.logprob_rms, bound.logprob_rms) << label;
    EXPECT_LE(e.kl_mean, bound.kl_mean) << label;
    EXPECT_LE(e.kl_full_mean, kFewPositions * bound.kl_mean) << label;
    EXPECT_EQ(e.top1_wrong, 0) << label;
    EXPECT_GE(e.decided * 10, e.positions * 8) << label << ": too few gaps above the bound";
    if (golden_.kind == "F32") {
      ASSERT_EQ(golden_.greedy.size(), 64u);
      EXPECT_EQ(greedy(*model, std::span(prompts_[0]).first(kGreedyPrompt), golden_.greedy.size()),
                golden_.greedy)
          << label;
    }
  }

  Golden golden_;
  std::vector<std::vector<int32_t>> prompts_;
};

TEST_P(Parity, Gguf) {
  const auto source = formats::open_model(model_folder() / (GetParam() + ".gguf"));
  ASSERT_TRUE(source) << source.error().message();
  const Bound allowed = bound(**source);
  for (const kernels::Isa isa : kernels::supported_isas()) check(**source, isa, allowed);
}

// The bound is no wide open gate: four times the rounding is too much.
TEST_P(Parity, RefusesMoreThanRounding) {
  const auto source = formats::open_model(model_folder() / (GetParam() + ".gguf"));
  ASSERT_TRUE(source) << source.error().message();
  const double scale = golden_.kind == "F32" ? kTooMuchF32 : kTooMuch;
  const PerturbedSource wrong(**source, kNoiseSeed + 1, scale);
  const Bound allowed = bound(**source);
  const Errors e = compare(golden_, run(wrong, kernels::best_isa()), allowed);
  EXPECT_GT(e.logprob_rms, allowed.logprob_rms);
}

INSTANTIATE_TEST_SUITE_P(Models, Parity, testing::ValuesIn(golden_models()), test_name);

// The same weights under other names and in other layouts.
class FolderParity : public Parity {};

TEST_P(FolderParity, HuggingFace) {
  const auto source = formats::open_model(model_folder() / GetParam());
  ASSERT_TRUE(source) << source.error().message();
  check(**source, kernels::best_isa(), bound(**source));
}

INSTANTIATE_TEST_SUITE_P(Models, FolderParity, testing::ValuesIn(folder_models()), test_name);

TEST(ParityModels, EveryOneHasAGoldenFile) {
  std::vector<std::string> made;
  const json::object all = manifest();
  for (const auto& [name, entry] : all.at("models").as_object()) made.emplace_back(name);
  std::ranges::sort(made);
  EXPECT_EQ(made, golden_models());
}

}  // namespace
}  // namespace sluice::parity
