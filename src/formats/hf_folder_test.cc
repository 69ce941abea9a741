// Hugging Face folders made here: names, layouts, shards, and what is no model at all.

#include "formats/hf_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "formats/test_files.h"

namespace sluice::formats {
namespace {

using test::raw;
using test::TempFolder;

struct Weight {
  std::string name;
  tensor::Shape shape;
  float first = 0.0f;  // values count up from here by 1
};

// F32 tensors one behind the other.
std::string safetensors(const std::vector<Weight>& weights) {
  std::string header = "{";
  std::string data;
  for (const Weight& w : weights) {
    int64_t n = 1;
    std::string shape;
    for (const int64_t d : w.shape) {
      n *= d;
      shape += (shape.empty() ? "" : ",") + std::to_string(d);
    }
    const size_t begin = data.size();
    for (int64_t i = 0; i < n; ++i) data += raw(w.first + static_cast<float>(i));
    header += (header.size() > 1 ? "," : "") + ("\"" + w.name) + R"(":{"dtype":"F32","shape":[)" +
              shape + R"(],"data_offsets":[)" + std::to_string(begin) + "," +
              std::to_string(data.size()) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return raw<uint64_t>(header.size()) + header + data;
}

std::string config(const std::string& hf_class, const std::string& extra = "") {
  const bool gemma = hf_class.starts_with("Gemma");
  return R"({"architectures":[")" + hf_class + R"("],"hidden_act":")" +
         (gemma ? "gelu_pytorch_tanh" : "silu") +
         R"(","hidden_size":8,"intermediate_size":12,"num_hidden_layers":1,)"
         R"("num_attention_heads":2,"num_key_value_heads":1,"vocab_size":6,"head_dim":4,)"
         R"("max_position_embeddings":64,"rms_norm_eps":1e-6,"tie_word_embeddings":)" +
         (gemma ? "true" : "false") + extra + "}";
}

std::vector<Weight> attention(const std::string& prefix) {
  const std::string p = prefix + "model.layers.0.";
  return {{prefix + "model.embed_tokens.weight", {6, 8}},
          {prefix + "model.norm.weight", {8}},
          {p + "input_layernorm.weight", {8}, 100.0f},
          {p + "post_attention_layernorm.weight", {8}, 200.0f},
          {p + "self_attn.q_proj.weight", {8, 8}},
          {p + "self_attn.k_proj.weight", {4, 8}},
          {p + "self_attn.v_proj.weight", {4, 8}},
          {p + "self_attn.o_proj.weight", {8, 8}}};
}

std::vector<Weight> llama() {
  std::vector<Weight> w = attention("");
  w.push_back({"lm_head.weight", {6, 8}});
  w.push_back({"model.layers.0.mlp.gate_proj.weight", {12, 8}});
  w.push_back({"model.layers.0.mlp.up_proj.weight", {12, 8}});
  w.push_back({"model.layers.0.mlp.down_proj.weight", {8, 12}});
  return w;
}

std::vector<float> values(const tensor::TensorView* view) {
  if (view == nullptr) return {};
  std::vector<float> out(static_cast<size_t>(view->elements()));
  std::memcpy(out.data(), view->bytes.data(), view->bytes.size());
  return out;
}

std::string refusal(const std::filesystem::path& folder) {
  const auto opened = open_model(folder);
  return opened ? "" : opened.error().message();
}

TEST(HfFolder, Llama) {
  const TempFolder folder;
  folder.write("config.json", config("LlamaForCausalLM", R"(,"bos_token_id":1,"eos_token_id":2)"));
  folder.write("model.safetensors", safetensors(llama()));
  folder.write("tokenizer.json", R"({"version":"1.0"})");
  folder.write("tokenizer_config.json", R"({"chat_template":"{{ messages }}"})");
  folder.write("generation_config.json", R"({"temperature":0.5,"eos_token_id":[2,3]})");
  const auto opened = open_model(folder.path());
  ASSERT_TRUE(opened) << opened.error().message();
  const ModelSource& m = **opened;
  EXPECT_EQ(m.format(), "safetensors");
  EXPECT_EQ(m.config().vocab, 6);
  EXPECT_EQ(m.tensors().size(), 12u);
  EXPECT_EQ(values(m.find("blk.0.ffn_norm.weight"))[0], 200.0f);
  EXPECT_EQ(m.find("blk.0.ffn_up.weight")->shape, (tensor::Shape{12, 8}));
  EXPECT_EQ(m.tokenizer().tokenizer_json, R"({"version":"1.0"})");
  EXPECT_EQ(m.tokenizer().bos, 1);
  EXPECT_EQ(m.chat_template(), "{{ messages }}");
  EXPECT_EQ(m.generation().eos_ids, (std::vector<int32_t>{2, 3}));
  EXPECT_NE(m.weights_digest(), 0u);
  EXPECT_FALSE(m.metadata().empty());
}

TEST(HfFolder, ChatTemplates) {
  const TempFolder folder;
  folder.write("config.json", config("LlamaForCausalLM"));
  folder.write("model.safetensors", safetensors(llama()));
  folder.write("tokenizer_config.json", R"({"chat_template":[{"name":"tool_use","template":"T"},)"
                                        R"({"name":"default","template":"D"}]})");
  EXPECT_EQ(open_model(folder.path()).value()->chat_template(), "D");
  folder.write("chat_template.jinja", "J");
  EXPECT_EQ(open_model(folder.path()).value()->chat_template(), "J");
  folder.write("chat_template.jinja", "");
  folder.write("tokenizer_config.json", R"({"chat_template":7})");
  EXPECT_NE(refusal(folder.path()).find("chat_template"), std::string::npos);
  folder.write("tokenizer_config.json", "{");
  EXPECT_NE(refusal(folder.path()).find("tokenizer_config.json"), std::string::npos);
}

TEST(HfFolder, GemmaAddsOneToItsNorms) {
  const TempFolder folder;
  folder.write("config.json", config("Gemma3ForCausalLM"));
  std::vector<Weight> w = attention("language_model.");
  const std::string p = "language_model.model.layers.0.";
  w.push_back({p + "pre_feedforward_layernorm.weight", {8}, 300.0f});
  w.push_back({p + "post_feedforward_layernorm.weight", {8}, 400.0f});
  w.push_back({p + "self_attn.q_norm.weight", {4}, -1.0f});
  w.push_back({p + "self_attn.k_norm.weight", {4}});
  w.push_back({p + "mlp.gate_proj.weight", {12, 8}});
  w.push_back({p + "mlp.up_proj.weight", {12, 8}});
  w.push_back({p + "mlp.down_proj.weight", {8, 12}});
  w.push_back({"vision_tower.patch.weight", {3, 3}});
  w.push_back({"lm_head.weight", {6, 8}});
  folder.write("model.safetensors", safetensors(w));
  const auto opened = open_model(folder.path());
  ASSERT_TRUE(opened) << opened.error().message();
  const ModelSource& m = **opened;
  EXPECT_EQ(values(m.find("blk.0.attn_norm.weight"))[0], 101.0f);
  EXPECT_EQ(values(m.find("blk.0.post_attention_norm.weight"))[0], 201.0f);
  EXPECT_EQ(values(m.find("blk.0.ffn_norm.weight"))[7], 308.0f);
  EXPECT_EQ(values(m.find("blk.0.post_ffw_norm.weight"))[0], 401.0f);
  EXPECT_EQ(values(m.find("blk.0.attn_q_norm.weight"))[0], 0.0f);
  EXPECT_EQ(values(m.find("output_norm.weight"))[0], 1.0f);
  EXPECT_EQ(m.find("output.weight"), nullptr) << "tied by the configuration";
}

std::vector<Weight> mixtral(const std::vector<std::string>& order) {
  std::vector<Weight> w = attention("");
  const std::string p = "model.layers.0.block_sparse_moe.";
  w.push_back({"lm_head.weight", {6, 8}});
  w.push_back({p + "gate.weight", {2, 8}});
  for (const std::string& part : order) {
    const tensor::Shape shape = part.ends_with("w2") ? tensor::Shape{8, 12} : tensor::Shape{12, 8};
    w.push_back({p + "experts." + part + ".weight", shape, part.starts_with("1.") ? 1e4f : 0.0f});
  }
  return w;
}

TEST(HfFolder, StacksExperts) {
  const std::string extra = R"(,"num_local_experts":2,"num_experts_per_tok":1)";
  const std::vector<std::string> scattered = {"1.w1", "0.w1", "0.w3", "0.w2", "1.w2", "1.w3"};
  const std::vector<std::string> in_order = {"0.w1", "1.w1", "0.w3", "1.w3", "0.w2", "1.w2"};
  uint64_t digests[2] = {};
  for (int i = 0; i < 2; ++i) {
    const TempFolder folder;
    folder.write("config.json", config("MixtralForCausalLM", extra));
    folder.write("model.safetensors", safetensors(mixtral(i == 0 ? scattered : in_order)));
    const auto opened = open_model(folder.path());
    ASSERT_TRUE(opened) << opened.error().message();
    const tensor::TensorView* gate = (*opened)->find("blk.0.ffn_gate_exps.weight");
    ASSERT_NE(gate, nullptr);
    EXPECT_EQ(gate->shape, (tensor::Shape{2, 12, 8}));
    EXPECT_EQ(values(gate)[0], 0.0f);
    EXPECT_EQ(values(gate)[96], 1e4f);
    EXPECT_EQ((*opened)->find("blk.0.ffn_down_exps.weight")->shape, (tensor::Shape{2, 8, 12}));
    digests[i] = (*opened)->weights_digest();
  }
  EXPECT_EQ(digests[0], digests[1]) << "the order in the file is no part of the digest";

  const TempFolder folder;
  folder.write("config.json", config("MixtralForCausalLM", extra));
  folder.write("model.safetensors", safetensors(mixtral({"0.w1", "1.w1", "0.w3", "0.w2", "1.w2"})));
  EXPECT_NE(refusal(folder.path()).find("expert 1 is missing"), std::string::npos);
  std::vector<std::string> more = in_order;
  more.emplace_back("2.w1");
  folder.write("model.safetensors", safetensors(mixtral(more)));
  EXPECT_NE(refusal(folder.path()).find("expert 2 found"), std::string::npos);
}

TEST(HfFolder, ReadsShards) {
  const TempFolder folder;
  folder.write("config.json", config("LlamaForCausalLM"));
  const std::vector<Weight> all = llama();
  const std::vector<Weight> first(all.begin(), all.begin() + 5);
  const std::vector<Weight> second(all.begin() + 5, all.end());
  folder.write("a.safetensors", safetensors(first));
  folder.write("b.safetensors", safetensors(second));
  const auto index = [&](const std::string& second_file) {
    std::string map;
    for (size_t i = 0; i < all.size(); ++i) {
      map += (i == 0 ? "\"" : ",\"") + all[i].name + "\":\"" +
             (i < 5 ? "a.safetensors" : second_file) + "\"";
    }
    return R"({"metadata":{},"weight_map":{)" + map + "}}";
  };
  const std::string name = "model.safetensors.index.json";
  folder.write(name, index("b.safetensors"));
  const auto opened = open_model(folder.path());
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ((*opened)->tensors().size(), 12u);

  folder.write(name, index("c.safetensors"));
  EXPECT_NE(refusal(folder.path()).find("c.safetensors"), std::string::npos) << "missing shard";
  folder.write(name, index("a.safetensors"));
  EXPECT_NE(refusal(folder.path()).find("it does not"), std::string::npos) << "wrong shard";
  for (const char* escape : {"../b.safetensors", "/etc/b.safetensors", "x/b.safetensors", "..",
                             "b.bin", ".safetensors", "", "..\\\\b.safetensors"}) {
    folder.write(name, index(escape));
    EXPECT_NE(refusal(folder.path()).find("same folder"), std::string::npos) << escape;
  }
  for (const char* text : {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})"}) {
    folder.write(name, text);
    EXPECT_NE(refusal(folder.path()).find(name), std::string::npos) << text;
  }
}

TEST(HfFolder, RefusesWeightsThatDoNotFit) {
  const TempFolder folder;
  folder.write("config.json", config("LlamaForCausalLM"));
  std::vector<Weight> w = llama();
  w[4].shape = {4, 8};
  folder.write("model.safetensors", safetensors(w));
  EXPECT_NE(refusal(folder.path()).find("blk.0.attn_q.weight"), std::string::npos);
  w = llama();
  w.push_back({"model.layers.0.mlp.up_proj.bias", {12}});
  folder.write("model.safetensors", safetensors(w));
  EXPECT_NE(refusal(folder.path()).find("ffn_up.bias"), std::string::npos);
  w = llama();
  w.push_back({"embed_tokens.weight", {6, 8}});
  folder.write("model.safetensors", safetensors(w));
  EXPECT_NE(refusal(folder.path()).find("twice"), std::string::npos);
}

TEST(OpenModel, RefusesPicklesByContent) {
  const TempFolder folder;
  const std::string pickle("\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94", 13);
  const std::string archive("PK\x03\x04\x14\0\0\0data.pkl", 16);
  for (const std::string& bytes : {pickle, archive}) {
    const auto file = folder.write("model.gguf", bytes);
    EXPECT_NE(refusal(file).find("convert the model to safetensors"), std::string::npos);
    folder.write("config.json", config("LlamaForCausalLM"));
    folder.write("weights.dat", bytes);
    EXPECT_NE(refusal(folder.path()).find("pickle"), std::string::npos);
    folder.write("model.safetensors", bytes);
    EXPECT_NE(refusal(folder.path()).find("pickle"), std::string::npos);
    std::filesystem::remove(folder.path() / "model.safetensors");
  }
}

TEST(OpenModel, TellsWhatItFound) {
  const TempFolder folder;
  EXPECT_NE(refusal(folder.path()).find("config.json"), std::string::npos);
  EXPECT_NE(refusal(folder.path() / "nowhere"), "");
  EXPECT_NE(refusal(folder.write("a", "")).find("empty"), std::string::npos);
  EXPECT_NE(refusal(folder.write("b", "FUGG....")).find("swapped"), std::string::npos);
  EXPECT_NE(refusal(folder.write("c", "tjgg....")).find("old ggml"), std::string::npos);
  EXPECT_NE(refusal(folder.write("d", safetensors(llama()))).find("the folder"), std::string::npos);
  EXPECT_NE(refusal(folder.write("e", "version https://git-lfs.github.com")).find("LFS"),
            std::string::npos);
  EXPECT_NE(refusal(folder.write("f", "hello\n\x01")).find("hello\\x0a\\x01"), std::string::npos);
  folder.write("config.json", config("LlamaForCausalLM"));
  EXPECT_NE(refusal(folder.path()).find("neither model.safetensors"), std::string::npos);
}

TEST(OpenModel, OpensGgufByContent) {
  const TempFolder folder;
  const auto path = folder.write("model.bin", test::tiny_gguf().build());
  const auto opened = open_model(path);
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ((*opened)->format(), "GGUF v3");
  EXPECT_EQ((*opened)->tokenizer().tokens.size(), 6u);
  EXPECT_EQ((*opened)->tokenizer().bos, 1);
}

}  // namespace
}  // namespace sluice::formats
