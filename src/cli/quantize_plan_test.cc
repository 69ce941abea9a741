#include "cli/quantize_plan.h"

#include <gtest/gtest.h>

#include <map>

namespace sluice::cli {
namespace {

using tensor::DType;

std::vector<QuantizeInput> model(int layers, int64_t width, bool tied) {
  std::vector<QuantizeInput> out = {{"token_embd.weight", DType::kF32, {1000, width}},
                                    {"output_norm.weight", DType::kF32, {width}}};
  if (!tied) out.push_back({"output.weight", DType::kF32, {1000, width}});
  for (int i = 0; i < layers; ++i) {
    const std::string p = "blk." + std::to_string(i) + ".";
    out.push_back({p + "attn_norm.weight", DType::kF32, {width}});
    out.push_back({p + "attn_q.weight", DType::kF32, {width, width}});
    out.push_back({p + "attn_q.bias", DType::kF32, {width}});
    out.push_back({p + "attn_v.weight", DType::kF32, {width / 4, width}});
    out.push_back({p + "ffn_gate_inp.weight", DType::kF32, {8, width}});
    out.push_back({p + "ffn_down_exps.weight", DType::kF32, {8, width, 512}});
  }
  return out;
}

std::map<std::string, QuantizeChoice> plan(std::string_view type, int layers, int64_t width,
                                           bool tied) {
  const auto tensors = model(layers, width, tied);
  const auto choices = plan_quantization(parse_quantize_target(type).value(), tensors, layers);
  std::map<std::string, QuantizeChoice> out;
  for (size_t i = 0; i < tensors.size(); ++i) out[tensors[i].name] = choices[i];
  return out;
}

TEST(QuantizePlan, VectorsAndRoutersStay) {
  const auto p = plan("Q4_0", 2, 1024, true);
  EXPECT_EQ(p.at("output_norm.weight").dtype, DType::kF32);
  EXPECT_EQ(p.at("blk.0.attn_q.bias").dtype, DType::kF32);
  EXPECT_EQ(p.at("blk.1.ffn_gate_inp.weight").dtype, DType::kF32);
  EXPECT_EQ(p.at("blk.1.attn_q.weight").dtype, DType::kQ4_0);
  EXPECT_EQ(p.at("blk.1.ffn_down_exps.weight").dtype, DType::kQ4_0);
}

TEST(QuantizePlan, TheMatrixOfTheLogitsGetsSixBits) {
  const auto tied = plan("Q4_K", 4, 1024, true);
  EXPECT_EQ(tied.at("token_embd.weight").dtype, DType::kQ6_K);
  const auto untied = plan("Q4_K", 4, 1024, false);
  EXPECT_EQ(untied.at("output.weight").dtype, DType::kQ6_K);
  EXPECT_EQ(untied.at("token_embd.weight").dtype, DType::kQ4_K);
  EXPECT_EQ(plan("Q8_0", 4, 1024, false).at("output.weight").dtype, DType::kQ8_0);
}

TEST(QuantizePlan, SensitiveMatricesOfSomeLayersGetSixBits) {
  const auto p = plan("Q4_K", 16, 1024, true);
  for (const int layer : {0, 1, 4, 7, 10, 13, 14, 15}) {
    const std::string prefix = "blk." + std::to_string(layer);
    EXPECT_EQ(p.at(prefix + ".attn_v.weight").dtype, DType::kQ6_K) << layer;
    EXPECT_EQ(p.at(prefix + ".ffn_down_exps.weight").dtype, DType::kQ6_K) << layer;
    EXPECT_EQ(p.at(prefix + ".attn_q.weight").dtype, DType::kQ4_K) << layer;
  }
  for (const int layer : {2, 3, 5, 6, 12}) {
    const std::string prefix = "blk." + std::to_string(layer);
    EXPECT_EQ(p.at(prefix + ".attn_v.weight").dtype, DType::kQ4_K) << layer;
  }
}

TEST(QuantizePlan, WidthsThatDoNotDivideGetTheNextType) {
  const auto p = plan("Q4_K", 4, 896, true);
  EXPECT_EQ(p.at("token_embd.weight").dtype, DType::kQ8_0);
  EXPECT_TRUE(p.at("token_embd.weight").fallback);
  EXPECT_EQ(p.at("blk.0.attn_q.weight").dtype, DType::kQ5_0);
  EXPECT_TRUE(p.at("blk.0.attn_q.weight").fallback);
  EXPECT_EQ(p.at("blk.0.ffn_down_exps.weight").dtype, DType::kQ4_K);
  EXPECT_FALSE(p.at("blk.0.ffn_down_exps.weight").fallback);
  EXPECT_EQ(plan("Q8_0", 4, 72, true).at("blk.0.attn_q.weight").dtype, DType::kF16);
}

TEST(QuantizePlan, TypesAreReadInAnyCaseAndAnUnknownOneIsRefused) {
  EXPECT_EQ(parse_quantize_target("q4_k_m")->dtype, DType::kQ4_K);
  EXPECT_EQ(parse_quantize_target("bf16")->file_type, 32u);
  const auto refused = parse_quantize_target("Q3_K");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("Q8_0, Q6_K, Q4_K"), std::string::npos);
}

}  // namespace
}  // namespace sluice::cli
