#include "serving/kv_plan.h"

#include <gtest/gtest.h>

namespace sluice::serving {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

formats::ModelConfig config() {
  formats::ModelConfig config;
  config.name = "m";
  config.layers = 32;
  config.kv_heads = 8;
  config.head_dim = 128;
  config.context = 1 << 17;
  return config;
}

int64_t block_bytes() { return model::kv_block_bytes(config(), model::KvType::kF16, 16); }

int64_t bytes_with(const MemoryAtHand& memory) {
  const auto plan = plan_kv(config(), {}, memory, block_bytes());
  EXPECT_TRUE(plan) << plan.error().message();
  return plan ? plan->bytes : 0;
}

TEST(KvPlan, TakesHalfOfWhatTheWeightsAndOtherModelsLeave) {
  EXPECT_NEAR(bytes_with({.available = 16 * kGiB}), 8 * kGiB, kGiB / 64);
  EXPECT_NEAR(bytes_with({.available = 16 * kGiB, .weights = 9 * kGiB}), 7 * kGiB / 2, kGiB / 64);
  EXPECT_NEAR(bytes_with({.available = 16 * kGiB, .weights = 9 * kGiB, .promised = 5 * kGiB}), kGiB,
              kGiB / 64);
}

TEST(KvPlan, TakesNoMoreThanItsSequencesFill) {
  ModelSettings settings;
  settings.max_num_seqs = 2;
  settings.max_model_len = 1000;
  const auto plan = plan_kv(config(), settings, {.available = 16 * kGiB}, block_bytes());
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->blocks, 2 * 63);
  EXPECT_EQ(plan->bytes, plan->blocks * block_bytes());
  EXPECT_EQ(plan->max_model_len, 1000);
}

TEST(KvPlan, FillsWhatItIsGiven) {
  ModelSettings settings;
  settings.kv_cache_bytes = kGiB;
  const auto plan = plan_kv(config(), settings, {.available = 16 * kGiB}, 3 * block_bytes());
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->blocks, kGiB / (3 * block_bytes()));
  EXPECT_EQ(plan->bytes, plan->blocks * 3 * block_bytes());
}

TEST(KvPlan, SaysWhatLeavesNoMemory) {
  const MemoryAtHand memory{.available = 4 * kGiB, .weights = 5 * kGiB};
  const auto plan = plan_kv(config(), {}, memory, block_bytes());
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().param(), "kv-cache-memory-bytes");
  EXPECT_NE(plan.error().message().find("4096 MiB"), std::string::npos);
  EXPECT_NE(plan.error().message().find("5120 MiB"), std::string::npos);
  ModelSettings settings;
  settings.kv_cache_bytes = kGiB;
  EXPECT_TRUE(plan_kv(config(), settings, memory, block_bytes())) << "who gives a size is believed";
}

}  // namespace
}  // namespace sluice::serving
