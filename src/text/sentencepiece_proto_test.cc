#include "text/sentencepiece_proto.h"

#include <bit>

#include "base/rng.h"
#include "text/tokenizer_test_support.h"

namespace sluice::text {
namespace {

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}
std::string number(uint32_t field, uint64_t value) { return varint(field << 3) + varint(value); }
std::string bytes(uint32_t field, std::string_view value) {
  return varint(field << 3 | 2) + varint(value.size()) + std::string(value);
}
std::string piece(std::string_view text, float score, uint64_t type) {
  std::string out = bytes(1, text) + varint(2 << 3 | 5);
  const auto bits = std::bit_cast<uint32_t>(score);
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(bits >> (8 * i)));
  return bytes(1, out + number(3, type));
}

std::string model(uint64_t model_type) {
  return piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece("▁a", -1, 1) +
         piece("▁", -2, 1) + piece("a", -3, 1) + piece("b", -4, 1) + piece("<ud>", 0, 4) +
         bytes(2, number(3, model_type) + bytes(4, "skipped")) + bytes(3, number(3, 1));
}

TEST(SentencePieceProto, Bpe) {
  const auto spec = parse_sentencepiece_model(model(2));
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(spec->kind, TokenizerKind::kSentencePieceBpe);
  EXPECT_EQ(spec->bos, 1);
  EXPECT_EQ(spec->scores[4], -2.0f);
  const auto t = make(*spec);
  EXPECT_EQ(ids_of(*t, " a  b<ud> a"), (Ids{3, 4, 6, 7, 3}));
  EXPECT_EQ(ids_of(*t, "<ud>b"), (Ids{4, 7, 6}));
}

TEST(SentencePieceProto, Unigram) {
  const auto spec = parse_sentencepiece_model(model(1));
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(spec->kind, TokenizerKind::kUnigram);
  EXPECT_EQ(ids_of(*make(*spec), "ab zz"), (Ids{3, 6, 4, 0}));
}

TEST(SentencePieceProto, RefusesByName) {
  const auto why = [](std::string_view data) {
    const auto spec = parse_sentencepiece_model(data);
    return spec ? "" : spec.error().message();
  };
  EXPECT_NE(why(model(3)).find("type 3; supported are"), std::string::npos);
  EXPECT_NE(why(piece("x", 0, 9)).find("piece 0 of the SentencePiece model has type 9"),
            std::string::npos);
  EXPECT_NE(why(model(2) + bytes(2, number(24, 1))).find("suffix"), std::string::npos);
  EXPECT_NE(why("\x0A\xFF\xFF\xFF\xFF\x0F").find("malformed at byte 6"), std::string::npos);
  EXPECT_NE(why("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F").find("64 bits"), std::string::npos);
  EXPECT_NE(why("\x0B").find("wire type 3"), std::string::npos);
  EXPECT_NE(why(std::string("\0", 1)).find("field number"), std::string::npos);
}

// Every prefix and any single changed byte either parses or is refused.
TEST(SentencePieceProto, SurvivesDamage) {
  const std::string good = model(2);
  for (size_t length = 0; length < good.size(); ++length) {
    if (auto spec = parse_sentencepiece_model(good.substr(0, length))) why_not(*std::move(spec));
  }
  Rng rng(8);
  for (int round = 0; round < 3000; ++round) {
    std::string bad = good;
    bad[rng.below(bad.size())] = static_cast<char>(rng.below(256));
    if (auto spec = parse_sentencepiece_model(bad)) why_not(*std::move(spec));
  }
}

}  // namespace
}  // namespace sluice::text
