#include "text/gguf_tokenizer.h"

#include <algorithm>

#include "text/tokenizer_test_support.h"

namespace sluice::text {
namespace {

GgufTokenizerFields llama_fields() {
  GgufTokenizerFields fields;
  fields.model = "llama";
  const auto spec = sentence_piece_spec({"▁", "a", "▁a", "<|im_end|>", "<tool>"});
  fields.tokens = spec.pieces;
  fields.scores = spec.scores;
  for (const TokenType type : spec.types) fields.types.push_back(static_cast<int32_t>(type));
  fields.types.back() = 4;
  return fields;
}

GgufTokenizerFields gpt2_fields() {
  GgufTokenizerFields fields;
  fields.model = "gpt2";
  fields.pre = "gpt-2";
  const auto spec = byte_spec({{"h", "i"}, {" ", "h"}}, {"<|endoftext|>"});
  fields.tokens = spec.pieces;
  for (const TokenType type : spec.types) fields.types.push_back(static_cast<int32_t>(type));
  fields.merges = {"h i", "Ġ h"};
  fields.bos = fields.eos = 258;
  return fields;
}

std::unique_ptr<Tokenizer> load(GgufTokenizerFields fields) {
  auto spec = gguf_tokenizer_spec(std::move(fields));
  EXPECT_TRUE(spec) << spec.error().message();
  return spec ? make(*std::move(spec)) : nullptr;
}

std::string why_not(GgufTokenizerFields fields) {
  auto spec = gguf_tokenizer_spec(std::move(fields));
  if (!spec) return spec.error().message();
  return why_not(*std::move(spec));
}

TEST(GgufTokenizer, LlamaHasItsDefaults) {
  const auto t = load(llama_fields());
  EXPECT_EQ(t->spec().bos, 1);
  EXPECT_EQ(t->spec().eos, 2);
  EXPECT_EQ(t->spec().unk, 0);
  EXPECT_EQ(t->encode("a", SpecialTokens::kAdd, true), (Ids{1, 261}));
  EXPECT_EQ(t->encode("a<s>a", SpecialTokens::kAdd, true), (Ids{1, 261, 1, 261}));
  EXPECT_EQ(ids_of(*t, "<tool>", false), Ids{263});
}

TEST(GgufTokenizer, MarksThatEndATurnAreControlTokens) {
  const auto t = load(llama_fields());  // the file types <|im_end|> as an ordinary token
  EXPECT_TRUE(t->is_special(262));
  EXPECT_EQ(ids_of(*t, "<|im_end|>", true), Ids{262});
  EXPECT_EQ(std::ranges::count(ids_of(*t, "<|im_end|>", false), 262), 0);
}

TEST(GgufTokenizer, FlagsOfTheFileCount) {
  auto fields = llama_fields();
  fields.add_bos = false;
  fields.add_eos = true;
  fields.add_space_prefix = false;
  EXPECT_EQ(load(fields)->encode("a", SpecialTokens::kAdd, true), (Ids{260, 2}));
}

TEST(GgufTokenizer, Gpt2) {
  const auto t = load(gpt2_fields());
  EXPECT_EQ(t->encode("hi hi h", SpecialTokens::kAdd, true), (Ids{256, 32, 256, 257}));
  EXPECT_TRUE(t->is_special(258));
  auto fields = gpt2_fields();
  fields.pre = "llama-bpe";  // whose files may leave out add_bos
  EXPECT_EQ(load(fields)->encode("hi", SpecialTokens::kAdd, true), (Ids{258, 256}));
  fields.pre = "";
  EXPECT_EQ(load(fields)->spec().pre, "default");
}

TEST(GgufTokenizer, BertMarksWordBeginnings) {
  GgufTokenizerFields fields;
  fields.model = "bert";
  fields.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁play", "ing", "▁,", "▁the"};
  fields.types = {3, 2, 3, 3, 1, 1, 1, 1};
  fields.unk = 1;
  fields.bos = 2;
  fields.eos = 3;
  const auto t = load(fields);
  EXPECT_EQ(t->encode("The playing, x", SpecialTokens::kAdd, true), (Ids{2, 7, 4, 5, 6, 1, 3}));
  EXPECT_EQ(detokenize(*t, Ids{7, 4, 5, 6}, {}), "the playing,");
}

TEST(GgufTokenizer, T5IsUnigram) {
  GgufTokenizerFields fields;
  fields.model = "t5";
  fields.tokens = {"<pad>", "</s>", "<unk>", "▁a", "b", "▁"};
  fields.types = {3, 3, 2, 1, 1, 1};
  fields.scores = {0, 0, 0, -1, -2, -3};
  fields.remove_extra_whitespaces = true;
  EXPECT_EQ(load(fields)->encode("  ab   b ", SpecialTokens::kAdd, true), (Ids{3, 4, 5, 4, 1}));
}

TEST(GgufTokenizer, RefusesByName) {
  const auto expect = [](GgufTokenizerFields fields, std::string_view part) {
    const std::string why = why_not(std::move(fields));
    EXPECT_NE(why.find(part), std::string::npos) << "got: " << why;
  };
  auto fields = gpt2_fields();
  fields.model = "rwkv";
  expect(fields, "\"rwkv\" is not supported; known are: llama");
  fields = gpt2_fields();
  fields.pre = "pretender";
  expect(fields, "\"pretender\" is not known; known are: ");
  fields = gpt2_fields();
  fields.types[7] = 9;
  expect(fields, "token 7 has type 9");
  fields = gpt2_fields();
  fields.types.pop_back();
  expect(fields, "259 tokens but 258 token types");
  fields = gpt2_fields();
  fields.merges[1] = "nothing";
  expect(fields, "merge 1 is not two pieces");
  fields = gpt2_fields();
  fields.merges[1] = "hi hi";
  expect(fields, "names \"hihi\", which is no token");
  fields = gpt2_fields();
  fields.eos = 1 << 30;
  expect(fields, "EOS token has id 1073741824");
  fields = gpt2_fields();
  fields.tokens.clear();
  fields.types.clear();
  fields.merges.clear();
  fields.bos = fields.eos = std::nullopt;
  expect(fields, "no tokens");
  fields = llama_fields();
  fields.scores.clear();
  expect(fields, "0 scores");
}

}  // namespace
}  // namespace sluice::text
