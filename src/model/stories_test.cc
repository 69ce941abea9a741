// A real model against the tokens that an independent engine chose for it. The file is not part of
// the tree: SLUICE_STORIES260K names it (llama2.c's stories260K as a GGUF of F32 weights).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "formats/model_source.h"
#include "model/model.h"

namespace sluice::model {
namespace {

// "Once upon a time", and llama.cpp's greedy continuation.
const std::vector<int32_t> kPrompt = {1, 403, 407, 261, 378};
const std::vector<int32_t> kExpected = {
    432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267, 337, 410,
    408, 419, 292, 411, 322, 265, 282, 295, 433, 426, 385, 328, 432, 358, 394, 261, 370,
    432, 352, 266, 268, 388, 426, 338, 391, 266, 267, 337, 335, 312, 432, 398, 312, 286,
    267, 414, 270, 333, 415, 426, 13,  438, 310, 439, 419, 357, 336, 432, 313, 438, 310,
    432, 278, 316, 439, 419, 298, 414, 267, 265, 282, 295, 433, 426, 436, 317, 286, 296,
    418, 269, 279, 292, 416, 439, 413, 409, 416, 327, 263, 415, 294, 267, 400};

std::vector<int32_t> greedy(Model& model, int count) {
  std::vector<int32_t> blocks(static_cast<size_t>(model.options().kv_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  std::vector<float> logits(static_cast<size_t>(model.config().vocab));
  std::vector<int32_t> fresh = kPrompt;
  std::vector<int32_t> chosen;
  int position = 0;
  while (static_cast<int>(chosen.size()) < count) {
    const int rows = static_cast<int>(fresh.size());
    model.forward(
        {.tokens = fresh,
         .slices = {{.first_row = 0, .rows = rows, .first_position = position, .blocks = blocks}},
         .output_rows = {rows - 1}},
        logits);
    position += rows;
    chosen.push_back(static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin()));
    fresh = {chosen.back()};
  }
  return chosen;
}

TEST(Stories260K, GreedyTokensEqualAnIndependentEngines) {
  const char* path = std::getenv("SLUICE_STORIES260K");
  if (path == nullptr) GTEST_SKIP() << "SLUICE_STORIES260K does not name stories260K.gguf";
  const auto source = formats::open_model(path);
  ASSERT_TRUE(source) << source.error().message();
  EXPECT_EQ(parameter_count(**source), 260'032);
  ThreadTeam team(2);
  for (const kernels::Isa isa : kernels::supported_isas()) {
    for (const KvType kv : {KvType::kF32, KvType::kF16}) {
      auto model = load_model(**source, {.isa = isa, .kv_type = kv, .kv_blocks = 8}, team);
      ASSERT_TRUE(model) << model.error().message();
      EXPECT_EQ(greedy(**model, 100), kExpected) << kernels::isa_name(isa);
    }
  }
}

}  // namespace
}  // namespace sluice::model
