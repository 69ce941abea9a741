#include "registry/model_files.h"

#include <gtest/gtest.h>

namespace sluice::registry {
namespace {

using Names = std::vector<std::string>;

std::vector<ModelFile> files(const Names& names) {
  std::vector<ModelFile> out;
  for (const std::string& name : names) out.push_back({.path = name, .bytes = 1});
  return out;
}

Names chosen(const Names& all, std::string_view asked = "") {
  const auto result = choose_files(files(all), asked);
  if (!result) return {"refused: " + result.error().message()};
  Names out;
  for (const ModelFile& file : *result) out.push_back(file.path);
  return out;
}

bool refused(const Names& all, std::string_view asked = "") {
  return chosen(all, asked).front().starts_with("refused");
}

TEST(ChooseFiles, AHuggingFaceFolderWithoutPickles) {
  EXPECT_EQ(chosen({"README.md", ".gitattributes", "pytorch_model.bin", "model.safetensors",
                    "config.json", "tokenizer.json", "tokenizer_config.json", "training.pt",
                    "generation_config.json", "chat_template.jinja", "optimizer.safetensors"}),
            (Names{"config.json", "generation_config.json", "tokenizer.json",
                   "tokenizer_config.json", "chat_template.jinja", "model.safetensors"}));
  EXPECT_EQ(
      chosen({"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
              "model-00002-of-00002.safetensors", "consolidated.safetensors"}),
      (Names{"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
             "model-00002-of-00002.safetensors"}));
  EXPECT_EQ(chosen({"config.json", "weights.safetensors"}),
            (Names{"config.json", "weights.safetensors"}));
}

TEST(ChooseFiles, AGgufWithItsShards) {
  const Names all = {"config.json", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "q4.gguf"};
  EXPECT_EQ(chosen(all, "q4.gguf"), (Names{"q4.gguf"}));
  const Names shards = {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"};
  EXPECT_EQ(chosen(all, "m-00001-of-00002.gguf"), shards);
  EXPECT_EQ(chosen(all, "m-00002-of-00002.gguf"), shards);
  EXPECT_EQ(chosen({"README.md", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}), shards);
  EXPECT_TRUE(refused(all)) << "two models, none named";
  EXPECT_TRUE(refused({"m-00001-of-00002.gguf"}, "m-00001-of-00002.gguf"));
  EXPECT_TRUE(refused(all, "none.gguf"));
}

TEST(ChooseFiles, RefusalsSayWhatThereIs) {
  EXPECT_NE(chosen({"a.gguf", "b.gguf"}).front().find("a.gguf, b.gguf"), std::string::npos);
  EXPECT_NE(chosen({"config.json", "pytorch_model.bin"}).front().find("pickle"), std::string::npos);
  EXPECT_TRUE(refused({}));
  EXPECT_TRUE(refused({"model.safetensors"})) << "no configuration";
}

TEST(ChooseFiles, NamesThatLeadElsewhereAndImpossibleSizesAreRefused) {
  for (const std::string& name :
       {std::string("../x.safetensors"), std::string("/etc/x.safetensors"),
        std::string("..%2fx.safetensors"), std::string("a\\x.safetensors")}) {
    EXPECT_TRUE(refused({"config.json", name})) << name;
  }
  EXPECT_TRUE(refused({"config.json", "a.safetensors", "a.safetensors"}));
  EXPECT_FALSE(choose_files({{.path = "a.gguf", .bytes = kMaxModelFileBytes + 1}}, "a.gguf"));
  EXPECT_TRUE(choose_files({{.path = "a.gguf", .bytes = kMaxModelFileBytes}}, "a.gguf"));
}

TEST(GgufShards, OnlyWholeSuffixesCount) {
  EXPECT_EQ(gguf_shards("a-00001-of-00003.gguf").size(), 3u);
  for (const char* single : {"a.gguf", "a-00000-of-00003.gguf", "a-00004-of-00003.gguf",
                             "-00001-of-00003.gguf", "a-0001-of-00003.gguf", "a-1-of-3.gguf",
                             "a-00001-of-99999.gguf", "a--0001-of-00003.gguf"}) {
    EXPECT_EQ(gguf_shards(single), Names{single});
  }
}

}  // namespace
}  // namespace sluice::registry
