#include "formats/hf_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace sluice::formats {
namespace {

// A complete configuration of a class with `extra` members behind it; a member that stands twice is
// refused, so `extra` only adds.
std::string config(const std::string& hf_class, const std::string& act, const std::string& extra) {
  return R"({"architectures":[")" + hf_class + R"("],"hidden_act":")" + act +
         R"(","hidden_size":64,"intermediate_size":96,"num_hidden_layers":6,)"
         R"("num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100,"head_dim":16,)"
         R"("max_position_embeddings":4096,"rms_norm_eps":1e-6)" +
         (extra.empty() ? "" : ",") + extra + "}";
}

ModelConfig read(const std::string& hf_class, const std::string& extra,
                 const std::string& act = "silu") {
  const auto parsed = parse_hf_config(config(hf_class, act, extra));
  if (parsed) return parsed->model;
  ADD_FAILURE() << parsed.error().message();
  return {};
}

std::string refusal(const std::string& text) {
  const auto parsed = parse_hf_config(text);
  return parsed ? "" : parsed.error().message();
}

const std::string kGelu = "gelu_pytorch_tanh";

TEST(HfConfig, Llama3) {
  const ModelConfig c =
      read("LlamaForCausalLM",
           R"("rope_theta":500000.0,"sliding_window":16,"eos_token_id":[7,8],"rope_scaling":{)"
           R"("rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,)"
           R"("original_max_position_embeddings":1024})");
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.rope.style, RopeStyle::kHalves);
  EXPECT_EQ(c.rope.scaling, RopeScaling::kLlama3);
  EXPECT_EQ(c.rope.theta, 500000.0f);
  EXPECT_EQ(c.rope.original_context, 1024);
  EXPECT_EQ(c.context, 4096);
  EXPECT_FALSE(c.tied_embeddings);
  EXPECT_EQ(c.sliding_window, 0);
}

TEST(HfConfig, RopeVariants) {
  ModelConfig c = read("LlamaForCausalLM", R"("rope_scaling":{"type":"linear","factor":2.0})");
  EXPECT_EQ(c.rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(c.context, 8192);
  c = read(
      "Qwen2ForCausalLM",
      R"("rope_scaling":{"type":"yarn","factor":4.0,"original_max_position_embeddings":1024})");
  EXPECT_EQ(c.rope.scaling, RopeScaling::kYarn);
  EXPECT_EQ(c.context, 4096);
  EXPECT_EQ(c.rope.attention_factor, 0.0f);
  c = read("Qwen3ForCausalLM",
           R"("rope_parameters":{"rope_type":"default","rope_theta":1000000.0})");
  EXPECT_EQ(c.rope.scaling, RopeScaling::kNone);
  EXPECT_EQ(c.rope.theta, 1e6f);
  c = read("Phi3ForCausalLM",
           R"("original_max_position_embeddings":1024,"partial_rotary_factor":0.5,)"
           R"("rope_scaling":{"type":"su","short_factor":[1,1,1,1],"long_factor":[2,3,4,5]})");
  EXPECT_EQ(c.rope.scaling, RopeScaling::kLongRope);
  EXPECT_EQ(c.rope.dim, 8);
  EXPECT_EQ(c.rope.long_factors.size(), 4u);
  EXPECT_FLOAT_EQ(c.rope.attention_factor, std::sqrt(1 + std::log(4.0f) / std::log(1024.0f)));
  for (const char* type : {"dynamic", "mrope", "proportional"}) {
    const std::string extra = std::string(R"("rope_scaling":{"factor":2,"type":")") + type + "\"}";
    EXPECT_NE(refusal(config("LlamaForCausalLM", "silu", extra)).find(type), std::string::npos);
  }
}

TEST(HfConfig, Windows) {
  EXPECT_EQ(read("MistralForCausalLM", R"("sliding_window":512)").window_layers,
            std::vector<bool>(6, true));
  EXPECT_TRUE(read("MistralForCausalLM", R"("sliding_window":null)").window_layers.empty());
  EXPECT_TRUE(read("Qwen2ForCausalLM", R"("sliding_window":512,"use_sliding_window":false)")
                  .window_layers.empty());
  EXPECT_EQ(read("Qwen2ForCausalLM",
                 R"("sliding_window":512,"use_sliding_window":true,"max_window_layers":4)")
                .window_layers,
            (std::vector<bool>{false, false, false, false, true, true}));
  EXPECT_EQ(read("Gemma2ForCausalLM", "", kGelu).window_layers,
            (std::vector<bool>{true, false, true, false, true, false}));
  EXPECT_EQ(read("Gemma3ForCausalLM", "", kGelu).window_layers,
            (std::vector<bool>{true, true, true, true, true, false}));
  const std::string types =
      R"("layer_types":["full_attention","sliding_attention","full_attention",)"
      R"("full_attention","full_attention","sliding_attention"])";
  EXPECT_EQ(read("Gemma3ForCausalLM", types, kGelu).window_layers,
            (std::vector<bool>{false, true, false, false, false, true}));
  EXPECT_NE(refusal(config("Gemma3ForCausalLM", kGelu, R"("layer_types":["full_attention"])")), "");
  EXPECT_NE(refusal(config("Gemma3ForCausalLM", kGelu, R"("layer_types":["chunked"])")), "");
}

TEST(HfConfig, Gemma) {
  const ModelConfig gemma2 = read("Gemma2ForCausalLM", R"("query_pre_attn_scalar":144)", kGelu);
  EXPECT_EQ(gemma2.activation, Activation::kGeluTanh);
  EXPECT_FLOAT_EQ(gemma2.attention_scale, 1.0f / 12);
  EXPECT_EQ(gemma2.attention_softcap, 50.0f);
  EXPECT_EQ(gemma2.embedding_scale, 8.0f);
  EXPECT_TRUE(gemma2.tied_embeddings);
  EXPECT_EQ(read("Gemma2ForCausalLM", R"("attn_logit_softcapping":null)", kGelu).attention_softcap,
            0.0f);
  const ModelConfig gemma3 =
      read("Gemma3ForCausalLM", R"("rope_scaling":{"rope_type":"linear","factor":8.0})", kGelu);
  EXPECT_EQ(gemma3.rope.theta, 1e6f);
  EXPECT_EQ(gemma3.local_rope_theta, 1e4f);
  EXPECT_EQ(gemma3.context, 4096);
  EXPECT_EQ(gemma3.final_softcap, 0.0f);
  const auto nested = parse_hf_config(
      R"({"architectures":["Gemma3ForConditionalGeneration"],"eos_token_id":[1,106],)"
      R"("text_config":{"hidden_size":2560,"intermediate_size":10240,"num_hidden_layers":34,)"
      R"("rope_scaling":{"factor":8.0,"rope_type":"linear"},"sliding_window":1024}})");
  ASSERT_TRUE(nested) << nested.error().message();
  EXPECT_EQ(nested->model.heads, 8);
  EXPECT_EQ(nested->model.head_dim, 256);
  EXPECT_EQ(nested->model.sliding_window, 1024);
  EXPECT_EQ(nested->eos_ids, (std::vector<int32_t>{1, 106}));
}

TEST(HfConfig, Experts) {
  const ModelConfig mixtral =
      read("MixtralForCausalLM", R"("num_local_experts":8,"num_experts_per_tok":2)");
  EXPECT_EQ(mixtral.moe.experts, 8);
  EXPECT_EQ(mixtral.moe.ffn, 96);
  EXPECT_TRUE(mixtral.moe.normalize_top_k);
  const std::string qwen = R"("num_experts":8,"num_experts_per_tok":2,"moe_intermediate_size":32)";
  EXPECT_FALSE(read("Qwen2MoeForCausalLM", qwen + R"(,"shared_expert_intermediate_size":48)")
                   .moe.normalize_top_k);
  EXPECT_TRUE(read("Qwen3MoeForCausalLM", qwen + R"(,"norm_topk_prob":true)").moe.normalize_top_k);
  EXPECT_NE(refusal(config("Qwen3MoeForCausalLM", "silu", qwen + R"(,"mlp_only_layers":[0])")), "");
}

TEST(HfConfig, RefusesWhatMakesNoSense) {
  struct Bad {
    const char* text;
    const char* expected;
  };
  const Bad cases[] = {
      {"", "JSON"},
      {"[]", "object"},
      {"{}", "architectures"},
      {R"({"architectures":[]})", "architectures"},
      {R"({"architectures":"LlamaForCausalLM"})", "array"},
      {R"({"architectures":["MambaForCausalLM"]})", "MambaForCausalLM\" is not supported"},
      {R"({"architectures":["LlamaForCausalLM"]})", "num_hidden_layers"},
      {R"({"architectures":["LlamaForCausalLM"],"quantization_config":{"quant_method":"gptq"}})",
       "gptq"},
      {R"({"architectures":["LlamaForCausalLM"],"num_hidden_layers":1e99})", "num_hidden_layers"},
      {R"({"architectures":["LlamaForCausalLM"],"num_hidden_layers":"6"})", "a string"},
      {R"({"architectures":["LlamaForCausalLM"],"num_hidden_layers":-1})", "found -1"},
  };
  for (const Bad& c : cases) {
    const std::string message = refusal(c.text);
    EXPECT_NE(message.find(c.expected), std::string::npos) << c.text << ": " << message;
  }
  EXPECT_NE(refusal(config("LlamaForCausalLM", "relu", "")).find("hidden_act"), std::string::npos);
  EXPECT_NE(refusal(config("LlamaForCausalLM", "silu", R"("eos_token_id":100)")), "");
  EXPECT_NE(refusal(config("LlamaForCausalLM", "silu", R"("rope_theta":-1)")), "");
  EXPECT_NE(refusal(config("LlamaForCausalLM", "silu", R"("partial_rotary_factor":0.2)")), "");
  EXPECT_NE(refusal(config("Phi3ForCausalLM", "silu",
                           R"("rope_scaling":{"type":"longrope","short_factor":[1]})")),
            "");
  EXPECT_EQ(refusal(config("LlamaForCausalLM", "silu", R"("pad_token_id":-1)")), "");
}

TEST(GenerationConfig, ReadsAndRefuses) {
  const auto g = parse_generation_config(R"({"temperature":0.7,"top_p":0.8,"top_k":20,)"
                                         R"("repetition_penalty":1.05,"eos_token_id":[3,4]})",
                                         10);
  ASSERT_TRUE(g) << g.error().message();
  EXPECT_DOUBLE_EQ(*g->top_p, static_cast<double>(0.8f));
  EXPECT_EQ(g->top_k, 20);
  EXPECT_EQ(g->eos_ids, (std::vector<int32_t>{3, 4}));
  EXPECT_FALSE(parse_generation_config(R"({"eos_token_id":10})", 10));
  EXPECT_FALSE(parse_generation_config(R"({"temperature":-1})", 10));
  EXPECT_FALSE(parse_generation_config(R"({"top_p":1.5})", 10));
  EXPECT_FALSE(parse_generation_config(R"({"top_k":"many"})", 10));
}

}  // namespace
}  // namespace sluice::formats
