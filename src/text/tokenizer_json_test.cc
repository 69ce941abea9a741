#include "text/tokenizer_json.h"

#include <fmt/format.h>

#include "base/json.h"
#include "text/tokenizer_test_support.h"

namespace sluice::text {
namespace {

// A byte-level tokenizer.json: the bytes, two merges, two added tokens.
json::object byte_level_file() {
  json::object vocab;
  for (int b = 0; b < 256; ++b) {
    vocab[to_byte_alphabet(std::string(1, static_cast<char>(b)))] = b;
  }
  vocab["hi"] = 256;
  vocab["Ġhi"] = 257;
  return json::object{
      {"version", "1.0"},
      {"added_tokens",
       json::array{
           json::object{{"id", 258}, {"content", "<s>"}, {"special", true}},
           json::object{
               {"id", 259}, {"content", "<think>"}, {"special", false}, {"normalized", false}}}},
      {"normalizer", json::object{{"type", "NFC"}}},
      {"pre_tokenizer", json::object{{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"post_processor", nullptr},
      {"decoder", json::object{{"type", "ByteLevel"}}},
      {"model", json::object{{"type", "BPE"},
                             {"vocab", vocab},
                             {"merges", json::array{"h i", json::array{"Ġ", "hi"}}}}}};
}

std::unique_ptr<Tokenizer> load(const json::object& file, std::string_view config = "") {
  auto spec = parse_tokenizer_json(to_json(file), config);
  EXPECT_TRUE(spec) << spec.error().message();
  return spec ? make(*std::move(spec)) : nullptr;
}

std::string why_not(const json::object& file, std::string_view config = "") {
  auto spec = parse_tokenizer_json(to_json(file), config);
  if (!spec) return spec.error().message();
  return why_not(*std::move(spec));
}

TEST(TokenizerJson, ByteLevel) {
  const auto t = load(byte_level_file());
  EXPECT_EQ(pieces_of(*t, "hi hi"), (Pieces{"hi", "Ġhi"}));
  EXPECT_EQ(ids_of(*t, "e\u0301"), (Ids{0xC3, 0xA9}));  // NFC
  EXPECT_EQ(ids_of(*t, "<s><think>"), (Ids{258, 259}));
  EXPECT_EQ(ids_of(*t, "<s>", false).size(), 3u);
  EXPECT_EQ(ids_of(*t, "<think>", false), Ids{259});
  EXPECT_TRUE(t->is_special(258));
  EXPECT_FALSE(t->is_special(259));
}

TEST(TokenizerJson, TemplatesSurroundTheText) {
  auto file = byte_level_file();
  const json::object special{{"SpecialToken", json::object{{"id", "<s>"}, {"type_id", 0}}}};
  const json::object text{{"Sequence", json::object{{"id", "A"}, {"type_id", 0}}}};
  file["post_processor"] = json::object{
      {"type", "Sequence"},
      {"processors",
       json::array{
           json::object{{"type", "ByteLevel"}},
           json::object{{"type", "TemplateProcessing"},
                        {"single", json::array{special, text, special}},
                        {"special_tokens",
                         json::object{{"<s>", json::object{{"ids", json::array{258}}}}}}}}}};
  const auto t = load(file, R"({"bos_token": {"content": "<s>"}, "eos_token": null})");
  EXPECT_EQ(t->encode("hi", SpecialTokens::kAdd, true), (Ids{258, 256, 258}));
  EXPECT_TRUE(t->spec().add_bos);
  EXPECT_EQ(t->spec().bos, 258);
}

TEST(TokenizerJson, ConfigAddsTokensAndBos) {
  const auto t = load(byte_level_file(),
                      R"({"bos_token": "<s>", "add_bos_token": true, "added_tokens_decoder":
                          {"260": {"content": "<|im_end|>", "special": true},
                           "258": {"content": "ignored", "special": true}}})");
  EXPECT_EQ(t->encode("hi<|im_end|>", SpecialTokens::kAdd, true), (Ids{258, 256, 260}));
  EXPECT_EQ(t->token_piece(258), "<s>");
}

TEST(TokenizerJson, LlamaStyleBpe) {
  json::object vocab{{"<unk>", 0}, {"<s>", 1}, {"▁", 2}, {"a", 3}, {"▁a", 4}, {"b", 5}};
  const json::object file{
      {"added_tokens", json::array{}},
      {"normalizer",
       json::object{
           {"type", "Sequence"},
           {"normalizers", json::array{json::object{{"type", "Prepend"}, {"prepend", "▁"}},
                                       json::object{{"type", "Replace"},
                                                    {"pattern", json::object{{"String", " "}}},
                                                    {"content", "▁"}}}}}},
      {"decoder",
       json::object{
           {"type", "Sequence"},
           {"decoders",
            json::array{
                json::object{{"type", "Replace"},
                             {"pattern", json::object{{"String", "▁"}}},
                             {"content", " "}},
                json::object{{"type", "ByteFallback"}}, json::object{{"type", "Fuse"}},
                json::object{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
      {"model", json::object{{"type", "BPE"},
                             {"unk_token", "<unk>"},
                             {"fuse_unk", true},
                             {"byte_fallback", true},
                             {"vocab", vocab},
                             {"merges", json::array{"▁ a"}}}}};
  const auto t = load(file);
  EXPECT_EQ(ids_of(*t, "a b"), (Ids{4, 2, 5}));
  EXPECT_EQ(ids_of(*t, "axyza"), (Ids{4, 0, 3}));
  EXPECT_EQ(detokenize(*t, Ids{4, 2, 5}, {}), "a b");
}

TEST(TokenizerJson, UnigramWithMetaspace) {
  const json::object meta{
      {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}};
  const json::object file{
      {"pre_tokenizer", meta},
      {"decoder", meta},
      {"model", json::object{{"type", "Unigram"},
                             {"unk_id", 0},
                             {"vocab", json::array{json::array{"<unk>", 0}, json::array{"▁", -2.0},
                                                   json::array{"▁ab", -1.5}, json::array{"b", -1},
                                                   json::array{"a", -1}}}}}};
  const auto t = load(file);
  EXPECT_EQ(ids_of(*t, "ab ba"), (Ids{2, 1, 3, 4}));
  EXPECT_EQ(detokenize(*t, Ids{2, 1, 3, 4}, {}), "ab ba");
}

TEST(TokenizerJson, RefusesStagesByName) {
  const auto expect = [](std::string_view field, const json::value& value, std::string_view part) {
    auto file = byte_level_file();
    file[field] = value;
    const std::string why = why_not(file);
    EXPECT_NE(why.find(part), std::string::npos) << "got: " << why;
  };
  const auto stage = [](std::string_view type) { return json::object{{"type", type}}; };
  expect("normalizer", stage("Nmt"), "the normalizer \"Nmt\" is not supported; known are: NFC");
  expect("normalizer", stage("ByteLevel"), "\"ByteLevel\" is not supported");
  expect("pre_tokenizer", stage("UnicodeScripts"), "\"UnicodeScripts\" is not supported");
  expect("post_processor", stage("Mystery"), "\"Mystery\" is not supported");
  expect("decoder", stage("CTC"), "the decoder \"CTC\" is not supported");
  expect("decoder", stage("BPEDecoder"), "\"BPEDecoder\" is not supported");
  expect("model", json::object{{"type", "WordLevel"}, {"vocab", json::object{}}}, "\"WordLevel\"");
  expect("normalizer", 7, "\"normalizer\" is an integer; expected an object");
  expect("pre_tokenizer",
         json::object{{"type", "Split"}, {"pattern", json::object{{"Regex", "(x+x+)+y"}}}},
         "backtracks");
  expect("pre_tokenizer", json::object{{"type", "Split"}}, "\"pattern\" is missing");
  expect("normalizer", json::object{{"type", "Precompiled"}, {"precompiled_charsmap", "!!!"}},
         "base64");
}

TEST(TokenizerJson, RefusesEndlessNesting) {
  json::object stage{{"type", "NFC"}};
  for (int i = 0; i < 12; ++i) {
    stage = json::object{{"type", "Sequence"}, {"normalizers", json::array{stage}}};
  }
  auto file = byte_level_file();
  file["normalizer"] = stage;
  EXPECT_NE(why_not(file).find("nests them more than 8 deep"), std::string::npos);
  json::array many(1000, json::object{{"type", "NFC"}});
  file["normalizer"] = json::object{{"type", "Sequence"}, {"normalizers", many}};
  EXPECT_NE(why_not(file).find("more than 64 stages"), std::string::npos);
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_FALSE(parse_tokenizer_json("{\"normalizer\":" + deep + "}", ""));
}

TEST(TokenizerJson, RefusesBadVocabularies) {
  const auto expect = [](std::string_view field, const json::value& value, std::string_view part) {
    auto file = byte_level_file();
    file["model"].as_object()[field] = value;
    const std::string why = why_not(file);
    EXPECT_NE(why.find(part), std::string::npos) << "got: " << why;
  };
  expect("vocab", json::object{{"a", -1}}, "has id -1");
  expect("vocab", json::object{{"a", 1LL << 40}}, "has id 1099511627776");
  expect("vocab", json::object{{"a", 10'000'000}}, "has id 10000000");
  expect("vocab", json::object{{"a", 1}, {"b", 1}}, "two tokens have the id 1");
  expect("vocab", json::object{{"a", "x"}}, "expected integer ids");
  expect("vocab", nullptr, "no \"vocab\"");
  expect("merges", json::array{"a b c"}, "merge 0 is not two pieces");
  expect("merges", json::array(1, json::array{"a"}), "pairs of strings");
  expect("merges", json::array{"zz qq"}, "which is no token");
  expect("unk_token", "<nope>", "\"<nope>\" is not in the vocabulary");
  expect("dropout", 0.1, "\"dropout\" is not supported");
  expect("end_of_word_suffix", "</w>", "\"end_of_word_suffix\" \"</w>\" is not supported");
  auto file = byte_level_file();
  file["added_tokens"] = json::array{json::object{{"id", -7}, {"content", "x"}}};
  EXPECT_NE(why_not(file).find("an added token has id -7"), std::string::npos);
  file["added_tokens"] =
      json::array{json::object{{"id", 300}, {"content", std::string(5000, 'x')}}};
  EXPECT_NE(why_not(file).find("at most 4096"), std::string::npos);
  EXPECT_NE(why_not(json::object{}).find("no \"model\""), std::string::npos);
  EXPECT_FALSE(parse_tokenizer_json("[]", ""));
  EXPECT_FALSE(parse_tokenizer_json("", ""));
}

TEST(TokenizerJson, TemplateMayNotNameMissingTokens) {
  auto file = byte_level_file();
  file["post_processor"] = json::object{
      {"type", "TemplateProcessing"},
      {"single", json::array{json::object{{"SpecialToken", json::object{{"id", "<x>"}}}}}},
      {"special_tokens", json::object{}}};
  EXPECT_NE(why_not(file).find("\"<x>\", which"), std::string::npos);
  file["post_processor"] = json::object{{"type", "BertProcessing"},
                                        {"cls", json::array{"<s>", 99999}},
                                        {"sep", json::array{"<s>", 258}}};
  EXPECT_NE(why_not(file).find("surrounding token has id 99999"), std::string::npos);
}

}  // namespace
}  // namespace sluice::text
