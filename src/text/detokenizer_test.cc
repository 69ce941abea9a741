#include "base/rng.h"
#include "text/tokenizer_test_support.h"

namespace sluice::text {
namespace {

TEST(Detokenizer, WaitsForWholeCharacters) {
  const auto t = make(byte_spec({}));
  Detokenizer d(*t, {});
  const std::string smile = "😀";
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(d.push(static_cast<unsigned char>(smile[i])), "");
  }
  EXPECT_EQ(d.push(static_cast<unsigned char>(smile[3])), smile);
  EXPECT_EQ(d.push(0xE2), "");
  EXPECT_EQ(d.push('a'), "\uFFFDa");  // as soon as it is known
  EXPECT_EQ(d.push(0xF0), "");
  EXPECT_EQ(d.finish(), "\uFFFD");
  EXPECT_EQ(d.finish(), "");
}

TEST(Detokenizer, StreamsEqualTheWhole) {
  const auto t = make(byte_spec({{"\xE2", "\x82"}, {"a", "\xF0"}, {"\x98", "b"}}));
  Rng rng(2);
  for (int round = 0; round < 2000; ++round) {
    Ids ids;
    for (int i = 0; i < 12; ++i) ids.push_back(static_cast<int32_t>(rng.below(259)));
    Detokenizer d(*t, {});
    std::string streamed;
    std::string bytes;
    for (const int32_t id : ids) {
      const std::string part = d.push(id);
      ASSERT_TRUE(is_valid_utf8(part));
      streamed += part;
      bytes += t->token_bytes(id);
    }
    streamed += d.finish();
    ASSERT_EQ(streamed, repair_utf8(bytes));
    ASSERT_EQ(streamed, detokenize(*t, ids, {}));
  }
}

TEST(Detokenizer, RoundTrip) {
  const auto t = make(byte_spec({{"h", "e"}, {" ", "t"}, {" t", "he"}}));
  for (const std::string text : {"", "the  the\n\t", "naïve 中文 🎉", "\x01\x7f"}) {
    EXPECT_EQ(detokenize(*t, ids_of(*t, text), {}), text);
  }
}

TEST(Detokenizer, HidesSpecialTokens) {
  const auto t = make(byte_spec({}, {"<|end|>"}));
  const Ids ids = {'a', 256, 'b'};
  EXPECT_EQ(detokenize(*t, ids, {}), "ab");
  EXPECT_EQ(detokenize(*t, ids, {.skip_special = false}), "a<|end|>b");
}

TEST(Detokenizer, SentencePieceBeginsWithoutASpace) {
  const auto t = make(sentence_piece_spec({"▁Once", "▁upon", "▁", ","}));
  const Ids ids = {259, 262, 260};
  EXPECT_EQ(detokenize(*t, ids, {}), "Once, upon");
  EXPECT_EQ(detokenize(*t, ids, {.continues = true}), " Once, upon");
  EXPECT_EQ(detokenize(*t, Ids{1, 259}, {}), "Once");  // a hidden BOS is no beginning
  EXPECT_EQ(detokenize(*t, Ids{261, 261, 262}, {}), " ,");
  EXPECT_EQ(detokenize(*t, Ids{1, 259}, {.skip_special = false}), "<s> Once");
}

TEST(Detokenizer, ByteTokensJoin) {
  const auto t = make(sentence_piece_spec({"x"}));
  const Ids euro = {3 + 0xE2, 3 + 0x82, 3 + 0xAC};
  EXPECT_EQ(detokenize(*t, euro, {}), "€");
  Detokenizer d(*t, {});
  EXPECT_EQ(d.push(euro[0]), "");
  EXPECT_EQ(d.push(euro[1]), "");
  EXPECT_EQ(d.push(259), "\uFFFDx");
}

TEST(Detokenizer, IgnoresIdsOutOfRange) {
  const auto t = make(byte_spec({}));
  EXPECT_EQ(detokenize(*t, Ids{-5, 'a', 1 << 30}, {}), "a");
}

}  // namespace
}  // namespace sluice::text
