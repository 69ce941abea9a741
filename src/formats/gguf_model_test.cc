// What GGUF metadata means, what must hold between its fields, and that no damage to a file does
// worse than a refusal.

#include "formats/gguf_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <sstream>

#include "formats/test_files.h"

namespace sluice::formats {
namespace {

using test::as_bytes;
using test::GgufBuilder;
using test::raw;
using test::raw_string;
using test::TempFolder;
using test::tiny_gguf;

std::string refusal(const GgufBuilder& b) {
  const std::string bytes = b.build();
  const auto opened = open_gguf_bytes(as_bytes(bytes));
  return opened ? "" : opened.error().message();
}

ModelConfig config_of(const GgufBuilder& b) {
  const std::string bytes = b.build();
  const auto opened = open_gguf_bytes(as_bytes(bytes));
  if (opened) return (*opened)->config();
  ADD_FAILURE() << opened.error().message();
  return {};
}

void add_gemma_norms(GgufBuilder& b) {
  b.add("blk.0.post_attention_norm.weight", {8});
  b.add("blk.0.post_ffw_norm.weight", {8});
}

void add_qk_norms(GgufBuilder& b) {
  b.add("blk.0.attn_q_norm.weight", {4});
  b.add("blk.0.attn_k_norm.weight", {4});
}

void add_qkv_biases(GgufBuilder& b) {
  b.add("blk.0.attn_q.bias", {8});
  b.add("blk.0.attn_k.bias", {4});
  b.add("blk.0.attn_v.bias", {4});
}

void replace_ffn_by_experts(GgufBuilder& b, std::string_view arch, int64_t ffn) {
  for (const char* name : {"ffn_gate", "ffn_up", "ffn_down"}) {
    b.remove_tensor("blk.0." + std::string(name) + ".weight");
  }
  b.u32(std::string(arch) + ".expert_count", 3);
  b.u32(std::string(arch) + ".expert_used_count", 2);
  b.add("blk.0.ffn_gate_inp.weight", {3, 8});
  b.add("blk.0.ffn_gate_exps.weight", {3, ffn, 8});
  b.add("blk.0.ffn_up_exps.weight", {3, ffn, 8});
  b.add("blk.0.ffn_down_exps.weight", {3, 8, ffn});
}

GgufBuilder phi3() {
  GgufBuilder b = tiny_gguf("phi3");
  for (const char* name : {"attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"}) {
    b.remove_tensor("blk.0." + std::string(name) + ".weight");
  }
  b.add("blk.0.attn_qkv.weight", {16, 8});
  b.add("blk.0.ffn_up.weight", {24, 8});
  return b;
}

TEST(GgufModel, Llama) {
  GgufBuilder b = tiny_gguf();
  b.add_floats("rope_freqs.weight", {1.0f, 8.0f});
  EXPECT_EQ(config_of(b).rope.freq_divisors, (std::vector<float>{1.0f, 8.0f}));
  b.remove_tensor("rope_freqs.weight");
  b.add_floats("rope_freqs.weight", {1.0f, 0.0f});
  EXPECT_NE(refusal(b).find("rope divisors"), std::string::npos);
  b.remove_tensor("rope_freqs.weight");
  const ModelConfig c = config_of(b);
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.head_dim, 4);
  EXPECT_EQ(c.kv_heads, 1);
  EXPECT_EQ(c.vocab, 6);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_EQ(c.rope.style, RopeStyle::kNeighbours);
  EXPECT_EQ(c.rope.theta, 10000.0f);
  EXPECT_EQ(c.rope.scaling, RopeScaling::kNone);
  EXPECT_EQ(c.rope.original_context, 64);
  EXPECT_TRUE(c.window_layers.empty());
}

TEST(GgufModel, IgnoresPaddingThatIsNoToken) {
  GgufBuilder b = tiny_gguf();
  b.u32("tokenizer.ggml.padding_token_id", 0xFFFFFFFF);
  const std::string bytes = b.build();
  EXPECT_EQ(open_gguf_bytes(as_bytes(bytes)).value()->tokenizer().pad, std::nullopt);
  b.u32("tokenizer.ggml.padding_token_id", 2);
  const std::string other = b.build();
  EXPECT_EQ(open_gguf_bytes(as_bytes(other)).value()->tokenizer().pad, 2);
}

TEST(GgufModel, RopeScaling) {
  GgufBuilder b = tiny_gguf();
  b.f32("llama.rope.scaling.factor", 4.0f);
  EXPECT_EQ(config_of(b).rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(config_of(b).rope.factor, 4.0f);
  b.text("llama.rope.scaling.type", "yarn");
  b.u32("llama.rope.scaling.original_context_length", 16);
  ModelConfig c = config_of(b);
  EXPECT_EQ(c.rope.scaling, RopeScaling::kYarn);
  EXPECT_EQ(c.rope.original_context, 16);
  EXPECT_EQ(c.rope.attention_factor, 0.0f);
  b.f32("llama.rope.scaling.attn_factor", 2.0f);
  c = config_of(b);
  EXPECT_FLOAT_EQ(c.rope.attention_factor, 2.0f * (0.1f * std::log(4.0f) + 1.0f));
  b.text("llama.rope.scaling.type", "none");
  EXPECT_NE(refusal(b).find("attn_factor"), std::string::npos);
  b.remove("llama.rope.scaling.attn_factor");
  EXPECT_EQ(config_of(b).rope.factor, 1.0f);
  b.text("llama.rope.scaling.type", "dynamic");
  EXPECT_NE(refusal(b).find("\"dynamic\" is not supported"), std::string::npos);
}

TEST(GgufModel, Mixtral) {
  GgufBuilder b = tiny_gguf();
  replace_ffn_by_experts(b, "llama", 12);
  const ModelConfig c = config_of(b);
  EXPECT_EQ(c.moe.experts, 3);
  EXPECT_EQ(c.moe.used, 2);
  EXPECT_EQ(c.moe.ffn, 12);
  EXPECT_TRUE(c.moe.normalize_top_k);
}

TEST(GgufModel, Qwen) {
  GgufBuilder qwen2 = tiny_gguf("qwen2");
  EXPECT_NE(refusal(qwen2).find("attn_q.bias"), std::string::npos);
  add_qkv_biases(qwen2);
  qwen2.u32("qwen2.attention.sliding_window", 16);
  EXPECT_EQ(config_of(qwen2).rope.style, RopeStyle::kHalves);
  EXPECT_EQ(config_of(qwen2).sliding_window, 0);

  GgufBuilder qwen3 = tiny_gguf("qwen3");
  add_qk_norms(qwen3);
  EXPECT_EQ(config_of(qwen3).architecture, "qwen3");
}

TEST(GgufModel, QwenExperts) {
  GgufBuilder qwen2moe = tiny_gguf("qwen2moe");
  EXPECT_NE(refusal(qwen2moe).find("expert_count"), std::string::npos);
  add_qkv_biases(qwen2moe);
  replace_ffn_by_experts(qwen2moe, "qwen2moe", 6);
  qwen2moe.u32("qwen2moe.expert_feed_forward_length", 6);
  qwen2moe.u32("qwen2moe.expert_shared_feed_forward_length", 10);
  qwen2moe.add("blk.0.ffn_gate_inp_shexp.weight", {8});
  qwen2moe.add("blk.0.ffn_gate_shexp.weight", {10, 8});
  qwen2moe.add("blk.0.ffn_up_shexp.weight", {10, 8});
  qwen2moe.add("blk.0.ffn_down_shexp.weight", {8, 10});
  const ModelConfig c2 = config_of(qwen2moe);
  EXPECT_FALSE(c2.moe.normalize_top_k);
  EXPECT_EQ(c2.moe.shared_ffn, 10);
  EXPECT_EQ(c2.moe.ffn, 6);

  GgufBuilder qwen3moe = tiny_gguf("qwen3moe");
  add_qk_norms(qwen3moe);
  replace_ffn_by_experts(qwen3moe, "qwen3moe", 5);
  qwen3moe.u32("qwen3moe.expert_feed_forward_length", 5);
  EXPECT_TRUE(config_of(qwen3moe).moe.normalize_top_k);
  qwen3moe.u32("qwen3moe.expert_used_count", 4);
  EXPECT_NE(refusal(qwen3moe).find("experts used"), std::string::npos);
}

TEST(GgufModel, Gemma2) {
  GgufBuilder b = tiny_gguf("gemma2");
  add_gemma_norms(b);
  const ModelConfig c = config_of(b);
  EXPECT_EQ(c.activation, Activation::kGeluTanh);
  EXPECT_FLOAT_EQ(c.embedding_scale, std::sqrt(8.0f));
  EXPECT_FLOAT_EQ(c.attention_scale, 0.5f);
  EXPECT_EQ(c.attention_softcap, 50.0f);
  EXPECT_EQ(c.final_softcap, 30.0f);
  EXPECT_EQ(c.sliding_window, 4096);
  EXPECT_EQ(c.window_layers, (std::vector<bool>{true}));
  EXPECT_EQ(c.local_rope_theta, 0.0f);
}

TEST(GgufModel, Gemma3Windows) {
  GgufBuilder b = tiny_gguf("gemma3");
  add_gemma_norms(b);
  add_qk_norms(b);
  EXPECT_TRUE(config_of(b).window_layers.empty());
  b.u32("gemma3.attention.sliding_window", 16);
  ModelConfig c = config_of(b);
  EXPECT_EQ(c.sliding_window, 16);
  EXPECT_EQ(c.local_rope_theta, 10000.0f);
  EXPECT_EQ(c.final_softcap, 0.0f);
  EXPECT_EQ(c.window_layers, (std::vector<bool>{true}));
  b.array("gemma3.attention.sliding_window_pattern", 7, 1, std::string(1, '\0'));
  EXPECT_EQ(config_of(b).window_layers, (std::vector<bool>{false}));
  b.array("gemma3.attention.sliding_window_pattern", 7, 0, "");
  EXPECT_NE(refusal(b).find("sliding_window_pattern"), std::string::npos);
  b.array("gemma3.attention.sliding_window_pattern", 4, 0, "");
  EXPECT_NE(refusal(b).find("sliding_window_pattern"), std::string::npos);
}

TEST(GgufModel, Phi3) {
  GgufBuilder b = phi3();
  EXPECT_EQ(config_of(b).rope.scaling, RopeScaling::kNone);
  b.u32("phi3.attention.sliding_window", 8);
  b.u32("phi3.rope.dimension_count", 2);
  const ModelConfig c = config_of(b);
  EXPECT_EQ(c.window_layers, (std::vector<bool>{true}));
  EXPECT_EQ(c.rope.dim, 2);
  b.add_floats("rope_factors_short.weight", {1.0f});
  b.add_floats("rope_factors_long.weight", {2.0f});
  b.f32("phi3.rope.scaling.attn_factor", 1.19f);
  const ModelConfig longrope = config_of(b);
  EXPECT_EQ(longrope.rope.scaling, RopeScaling::kLongRope);
  EXPECT_EQ(longrope.rope.long_factors, (std::vector<float>{2.0f}));
  EXPECT_EQ(longrope.rope.attention_factor, 1.19f);
  b.remove_tensor("rope_factors_short.weight");
  EXPECT_NE(refusal(b).find("short rope factors"), std::string::npos);
}

struct BadModel {
  const char* what;
  const char* expected;
  std::function<void(GgufBuilder&)> change;
};

TEST(GgufModel, RefusesWhatMakesNoSense) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<BadModel> cases = {
      {"no architecture", "general.architecture",
       [](auto& b) { b.remove("general.architecture"); }},
      {"unknown architecture", "\"mamba\" is not supported; supported are llama",
       [](auto& b) { b.text("general.architecture", "mamba"); }},
      {"heads 0", "head_count", [](auto& b) { b.u32("llama.attention.head_count", 0); }},
      {"heads do not divide", "do not divide",
       [](auto& b) { b.u32("llama.attention.head_count", 3); }},
      {"more KV heads than heads", "KV heads",
       [](auto& b) { b.u32("llama.attention.head_count_kv", 4); }},
      {"rope odd", "even number", [](auto& b) { b.u32("llama.rope.dimension_count", 3); }},
      {"rope beyond the head", "even number",
       [](auto& b) { b.u32("llama.rope.dimension_count", 6); }},
      {"more blocks than tensors", "blk.1.attn_norm.weight",
       [](auto& b) { b.u32("llama.block_count", 2); }},
      {"fewer blocks than tensors", "block_count", [](auto& b) { b.u32("llama.block_count", 0); }},
      {"2^31 blocks", "block_count", [](auto& b) { b.u32("llama.block_count", 1u << 31); }},
      {"short vocabulary", "5 tokens",
       [](auto& b) {
         std::string tokens;
         for (int i = 0; i < 5; ++i) tokens += raw_string("t");
         b.array("tokenizer.ggml.tokens", 8, 5, tokens);
       }},
      {"vocab_size differs", "vocab_size", [](auto& b) { b.u32("llama.vocab_size", 7); }},
      {"eps NaN", "finite", [=](auto& b) { b.f32("llama.attention.layer_norm_rms_epsilon", nan); }},
      {"eps 0", "epsilon", [](auto& b) { b.f32("llama.attention.layer_norm_rms_epsilon", 0); }},
      {"context 2^31", "context_length", [](auto& b) { b.u32("llama.context_length", 1u << 31); }},
      {"context 0", "context_length", [](auto& b) { b.u32("llama.context_length", 0); }},
      {"theta 0", "rope base", [](auto& b) { b.f32("llama.rope.freq_base", 0); }},
      {"factor negative", "scaling factor",
       [](auto& b) { b.f32("llama.rope.scaling.factor", -2); }},
      {"text for a number", "expected an integer",
       [](auto& b) { b.text("llama.block_count", "1"); }},
      {"number for a text", "expected a string", [](auto& b) { b.u32("general.architecture", 1); }},
      {"layers that differ", "differ",
       [](auto& b) { b.array("llama.feed_forward_length", 4, 2, raw(12u) + raw(13u)); }},
      {"missing tensor", "\"blk.0.attn_q.weight\" of shape [8, 8] is missing",
       [](auto& b) { b.remove_tensor("blk.0.attn_q.weight"); }},
      {"tensor of another shape", "[8, 8] is expected from the model's configuration; found [4, 8]",
       [](auto& b) {
         b.remove_tensor("blk.0.attn_q.weight");
         b.add("blk.0.attn_q.weight", {4, 8});
       }},
      {"tensor of another layer", "\"blk.1.attn_norm.weight\" does not belong",
       [](auto& b) { b.add("blk.1.attn_norm.weight", {8}); }},
      {"no embedding", "token_embd", [](auto& b) { b.remove_tensor("token_embd.weight"); }},
      {"bos outside", "bos_token_id", [](auto& b) { b.u32("tokenizer.ggml.bos_token_id", 6); }},
      {"scores too few", "scores",
       [](auto& b) { b.array("tokenizer.ggml.scores", 6, 2, raw(0.0f) + raw(0.0f)); }},
      {"tokens no strings", "array of string",
       [](auto& b) { b.array("tokenizer.ggml.tokens", 4, 6, std::string(24, '\0')); }},
      {"token of 10 MB", "bytes; at most",
       [](auto& b) {
         std::string tokens = raw_string(std::string(10 << 20, 'x'));
         for (int i = 0; i < 5; ++i) tokens += raw_string("t");
         b.array("tokenizer.ggml.tokens", 8, 6, tokens);
       }},
      {"temperature NaN", "finite", [=](auto& b) { b.f32("general.sampling.temp", nan); }},
      {"top_p 2", "top_p", [](auto& b) { b.f32("general.sampling.top_p", 2); }},
      {"template of 1 MB", "chat template",
       [](auto& b) { b.text("tokenizer.chat_template", std::string(1 << 20, 'x')); }},
  };
  for (const BadModel& c : cases) {
    GgufBuilder b = tiny_gguf();
    c.change(b);
    const std::string message = refusal(b);
    EXPECT_NE(message.find(c.expected), std::string::npos) << c.what << ": " << message;
  }
}

TEST(GgufModel, RefusesVectorsInBlocks) {
  GgufBuilder b = tiny_gguf();
  for (auto& t : b.tensors) {
    for (auto& d : t.shape) d = d == 8 ? 32 : d;
  }
  b.u32("llama.embedding_length", 32);
  b.u32("llama.attention.head_count", 8);
  b.tensor("output_norm.weight").type = 8;
  for (auto& t : b.tensors) t.bytes = 64 * 32 * 4;
  EXPECT_NE(refusal(b).find("expected for a vector; found Q8_0"), std::string::npos) << refusal(b);
}

TEST(GgufModel, OpensShards) {
  const TempFolder folder;
  GgufBuilder first = tiny_gguf();
  GgufBuilder second;
  second.tensors.assign(first.tensors.begin() + 5, first.tensors.end());
  first.tensors.resize(5);
  for (GgufBuilder* b : {&first, &second}) {
    b->set("split.count", 2, raw<uint16_t>(2));
    b->set("split.no", 2, raw<uint16_t>(b == &first ? 0 : 1));
    b->set("split.tensors.count", 5, raw<int32_t>(11));
  }
  const auto path = folder.write("m-00001-of-00002.gguf", first.build());
  EXPECT_FALSE(open_gguf(path)) << "the second shard is missing";
  const auto second_path = folder.write("m-00002-of-00002.gguf", second.build());
  const auto opened = open_gguf(path);
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ((*opened)->tensors().size(), 11u);
  EXPECT_EQ((*opened)->find("blk.0.ffn_up.weight")->bytes.size(), 12u * 8 * 4);

  const auto not_first = open_gguf(second_path);
  ASSERT_FALSE(not_first);
  EXPECT_NE(not_first.error().message().find("shard 2 of 2"), std::string::npos);

  second.set("split.no", 2, raw<uint16_t>(0));
  folder.write("m-00002-of-00002.gguf", second.build());
  EXPECT_FALSE(open_gguf(path)) << "a shard that says it is another";
  second.set("split.no", 2, raw<uint16_t>(1));
  second.tensors.push_back(first.tensors[0]);
  folder.write("m-00002-of-00002.gguf", second.build());
  const auto twice = open_gguf(path);
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().message().find("two shards"), std::string::npos);
  second.tensors.pop_back();
  second.tensors.pop_back();
  folder.write("m-00002-of-00002.gguf", second.build());
  EXPECT_FALSE(open_gguf(path)) << "fewer tensors than split.tensors.count";
  const auto renamed = folder.write("first.gguf", first.build());
  EXPECT_FALSE(open_gguf(renamed)) << "shards cannot be found by this name";
}

TEST(GgufModel, DigestCoversNamesTypesAndBytes) {
  const auto digest = [](const std::string& bytes) {
    return open_gguf_bytes(as_bytes(bytes)).value()->weights_digest();
  };
  const std::string bytes = tiny_gguf().build();
  EXPECT_EQ(digest(bytes), digest(bytes));
  std::string changed = bytes;
  changed.back() ^= 1;
  EXPECT_NE(digest(changed), digest(bytes));
  GgufBuilder renamed = tiny_gguf();
  renamed.text("general.name", "else");
  EXPECT_EQ(digest(renamed.build()), digest(bytes)) << "metadata is no part of it";
  GgufBuilder retyped = tiny_gguf();
  retyped.tensor("blk.0.ffn_up.weight").type = 1;
  EXPECT_NE(digest(retyped.build()), digest(bytes));
}

// Bytes of the mapping around `address` that are in this process's memory.
int64_t resident_around(const std::byte* address) {
  std::ifstream maps("/proc/self/smaps");
  bool is_here = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    char dash = 0;
    std::istringstream head(line);
    if (head >> std::hex >> begin >> dash >> end && dash == '-') {
      const auto at = reinterpret_cast<uintptr_t>(address);
      is_here = at >= begin && at < end;
    } else if (is_here && line.starts_with("Rss:")) {
      return 1024 * std::stoll(line.substr(4));
    }
  }
  return -1;
}

TEST(GgufModel, TheDigestLeavesInMemoryWhatIsInUse) {
  const auto source = open_gguf(SLUICE_SOURCE_DIR "/models/story.gguf");
  ASSERT_TRUE(source) << source.error().message();
  int64_t released = 0;
  int64_t kept = 0;
  for (const auto& [name, view] : (*source)->tensors()) {
    // Half of the layers' matrices, in stretches that lie together.
    const bool is_unused = name < "blk.2";
    (is_unused ? released : kept) += std::ssize(view.bytes);
    if (is_unused) (*source)->release(view);
  }
  // The kernel maps pages around those that are read.
  constexpr int64_t kSlack = 200'000;
  ASSERT_GT(std::min(released, kept), 2 * kSlack);
  (*source)->weights_digest();
  const std::byte* inside = (*source)->tensors().begin()->second.bytes.data();
  EXPECT_GE(resident_around(inside), kept - kSlack);
  EXPECT_LE(resident_around(inside), kept + kSlack);
}

TEST(GgufModel, SurvivesTruncationAtEveryByte) {
  const std::string whole = tiny_gguf().build();
  ASSERT_TRUE(open_gguf_bytes(as_bytes(whole)));
  for (size_t length = 0; length < whole.size(); ++length) {
    // A copy of its own, so that a sanitizer sees any read past the end.
    const std::vector<std::byte> part(as_bytes(whole).begin(),
                                      as_bytes(whole).begin() + static_cast<ptrdiff_t>(length));
    const auto opened = open_gguf_bytes(part);
    ASSERT_FALSE(opened) << "cut to " << length << " of " << whole.size();
    ASSERT_FALSE(opened.error().message().empty());
  }
}

TEST(GgufModel, SurvivesEverySingleBitFlip) {
  std::string bytes = tiny_gguf().build();
  size_t opened = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      const auto model = open_gguf_bytes(as_bytes(bytes));
      if (model) {
        ++opened;
        EXPECT_EQ((*model)->tensors().size(), 11u);
      } else {
        ASSERT_FALSE(model.error().message().empty());
      }
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
    }
  }
  // Flips in weights and names of things do no harm; the others do.
  EXPECT_GT(opened, bytes.size());
  EXPECT_LT(opened, bytes.size() * 8);
}

}  // namespace
}  // namespace sluice::formats
