#include "text/tokenizer.h"

#include <algorithm>
#include <thread>

#include "base/limits.h"
#include "base/rng.h"
#include "text/tokenizer_test_support.h"

namespace sluice::text {
namespace {

TokenizerSpec small_spec() {
  return byte_spec({{"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {" ", "w"}, {" w", "o"}},
                   {"<|end|>", "<|user|>"});
}

TEST(ByteBpe, MergesByRank) {
  const auto t = make(small_spec());
  EXPECT_EQ(pieces_of(*t, "hello world"), (Pieces{"hello", "Ġwo", "r", "l", "d"}));
  EXPECT_EQ(pieces_of(*t, "helll"), (Pieces{"hell", "l"}));
  EXPECT_EQ(ids_of(*t, ""), Ids{});
}

TEST(ByteBpe, LeftmostOfEqualRanksFirst) {
  const auto t = make(byte_spec({{"a", "a"}}));
  EXPECT_EQ(pieces_of(*t, "aaaaa"), (Pieces{"aa", "aa", "a"}));
  EXPECT_EQ(pieces_of(*t, std::string(101, 'a')).back(), "a");
}

// The heap that long words use gives what scanning gives.
TEST(ByteBpe, LongWordsMergeLikeShortOnes) {
  std::vector<std::pair<std::string, std::string>> merges = {
      {"a", "b"}, {"b", "a"}, {"ab", "a"}, {"b", "b"}, {"aba", "bb"}, {"ab", "ab"}, {"a", "a"}};
  const auto t = make(byte_spec(merges));
  const auto rank_of = [&](const std::string& l, const std::string& r) {
    const auto it = std::ranges::find(merges, std::pair(l, r));
    return it == merges.end() ? merges.size() : static_cast<size_t>(it - merges.begin());
  };
  Rng rng(9);
  for (int round = 0; round < 300; ++round) {
    std::string word;
    const uint64_t length = 1 + rng.below(150);
    for (uint64_t i = 0; i < length; ++i) word += rng.chance(0.5) ? 'a' : 'b';
    Pieces expected;
    for (const char c : word) expected.emplace_back(1, c);
    while (true) {
      size_t best = merges.size();
      size_t at = 0;
      for (size_t i = 0; i + 1 < expected.size(); ++i) {
        const size_t rank = rank_of(expected[i], expected[i + 1]);
        if (rank < best) best = rank, at = i;
      }
      if (best == merges.size()) break;
      expected[at] += expected[at + 1];
      expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
    ASSERT_EQ(pieces_of(*t, word), expected) << word;
  }
}

TEST(ByteBpe, MillionByteWordEnds) {
  const auto t = make(byte_spec({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}));
  EXPECT_EQ(ids_of(*t, std::string(1 << 20, 'a')).size(), (1u << 20) / 8);
}

TEST(ByteBpe, BrokenUtf8ReadsAsReplacement) {
  const auto t = make(small_spec());
  EXPECT_EQ(ids_of(*t, "he\xFFllo\xE2\x82"), ids_of(*t, "he\uFFFDllo\uFFFD"));
}

TEST(ByteBpe, IgnoreMergesTakesWholeWords) {
  auto spec = byte_spec({{"h", "e"}}, {}, "llama-bpe");
  spec.pieces.push_back("heyho");
  spec.types.push_back(TokenType::kNormal);
  EXPECT_EQ(pieces_of(*make(spec), "heyho"), Pieces{"heyho"});
  spec.pre = "gpt-2";
  EXPECT_EQ(pieces_of(*make(spec), "heyho").size(), 4u);
}

TEST(Tokenizer, SpecialTokensInTrustedTextOnly) {
  const auto t = make(small_spec());
  const int32_t end = *t->find_piece("<|end|>");
  EXPECT_TRUE(t->is_special(end));
  EXPECT_EQ(ids_of(*t, "<|end|>"), Ids{end});
  const Ids plain = ids_of(*t, "<|end|>", false);
  EXPECT_EQ(std::ranges::count(plain, end), 0);
  EXPECT_EQ(plain.size(), 7u);
}

// However a caller's text is cut and placed, it cannot complete a special token.
TEST(Tokenizer, NoSpecialTokenAcrossTrust) {
  const auto t = make(small_spec());
  const int32_t end = *t->find_piece("<|end|>");
  const std::string token = "<|end|>";
  for (size_t cut = 0; cut < token.size(); ++cut) {
    for (const bool first_trusted : {false, true}) {
      const std::vector<Segment> segments = {{token.substr(0, cut), first_trusted},
                                             {token.substr(cut), !first_trusted}};
      const bool whole = (cut == 0 && !first_trusted);
      const Ids ids = t->encode(segments, SpecialTokens::kOmit);
      EXPECT_EQ(std::ranges::count(ids, end), whole ? 1 : 0) << cut << first_trusted;
    }
  }
  // Two trusted halves with nothing between them are one text.
  const std::vector<Segment> halves = {{"<|e", true}, {"", false}, {"nd|>", true}};
  EXPECT_EQ(t->encode(halves, SpecialTokens::kOmit), Ids{end});
}

TEST(Tokenizer, SegmentsEncodeLikeTheirConcatenation) {
  const auto t = make(small_spec());
  Rng rng(4);
  const std::vector<std::string> parts = {"he",   "llo", " ",  "wo", "<|user|>", "\xE2\x82",
                                          "\xAC", "l",   "\n", "é",  "'s"};
  for (int round = 0; round < 500; ++round) {
    std::vector<Segment> segments;
    std::string all;
    const uint64_t count = rng.below(8);
    for (uint64_t i = 0; i < count; ++i) {
      const std::string& part = parts[rng.below(parts.size())];
      segments.push_back({part, part.starts_with("<|") || rng.chance(0.5)});
      all += part;
    }
    ASSERT_EQ(t->encode(segments, SpecialTokens::kOmit), ids_of(*t, all)) << all;
  }
}

TEST(Tokenizer, UserDefinedTokensAreAlwaysRead) {
  auto spec = small_spec();
  spec.types[*make(spec)->find_piece("<|user|>")] = TokenType::kUserDefined;
  spec.pieces.push_back("<tool_call>");
  spec.types.push_back(TokenType::kUserDefined);
  const auto t = make(spec);
  EXPECT_EQ(ids_of(*t, "<tool_call>", false), Ids{*t->find_piece("<tool_call>")});
  // Looks like a mark of the chat format: not from a caller, whatever its type.
  EXPECT_EQ(ids_of(*t, "<|user|>", false).size(), 8u);
  EXPECT_EQ(ids_of(*t, "<|user|>", true).size(), 1u);
}

TEST(Tokenizer, BosAndEosOnRequest) {
  auto spec = small_spec();
  spec.bos = spec.eos = 262;
  spec.add_bos = spec.add_eos = true;
  const auto t = make(spec);
  EXPECT_EQ(t->encode("he", SpecialTokens::kAdd, true), (Ids{262, 256, 262}));
  EXPECT_EQ(t->encode("he", SpecialTokens::kOmit, true), Ids{256});
}

TEST(Tokenizer, FlagsOfAddedTokens) {
  auto spec = small_spec();
  EXPECT_TRUE(complete_spec(spec));
  spec.pipeline->added = {{.id = 262, .content = "<|end|>", .lstrip = true, .rstrip = true},
                          {.id = 263, .content = "wo", .single_word = true}};
  const auto t = make(spec);
  EXPECT_EQ(ids_of(*t, "he \n<|end|>\t he"), (Ids{256, 262, 256}));
  EXPECT_EQ(ids_of(*t, "he wo."), (Ids{256, 32, 263, 46}));
  EXPECT_EQ(ids_of(*t, "hewo"), (Ids{256, 119, 111}));
}

TEST(SentencePieceBpe, MergesByScoreWithByteFallback) {
  auto spec = sentence_piece_spec({"▁a", "ab", "▁", "a", "b", "c", "▁ab", "bc"});
  const auto t = make(spec);
  EXPECT_EQ(pieces_of(*t, "ab"), (Pieces{"▁ab"}));
  EXPECT_EQ(pieces_of(*t, "abc"), (Pieces{"▁ab", "c"}));
  EXPECT_EQ(pieces_of(*t, "b é"), (Pieces{"▁", "b", "▁", "<0xC3>", "<0xA9>"}));
  EXPECT_EQ(detokenize(*t, ids_of(*t, "b é"), {}), "b é");
}

TEST(SentencePieceBpe, TextNeverMergesIntoControlTokens) {
  auto spec = sentence_piece_spec({"<", "s", ">", "<s", "s>", "▁"});
  const auto t = make(spec);
  EXPECT_EQ(ids_of(*t, "<s>", true), Ids{1});
  const Ids plain = ids_of(*t, "<s>", false);
  EXPECT_EQ(std::ranges::count(plain, 1), 0);
}

TEST(Unigram, TakesTheBestSum) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kUnigram;
  spec.pieces = {"<unk>", "▁", "a", "b", "ab", "▁a", "abc", "c"};
  spec.scores = {0, -1, -2, -2, -3.6f, -2.5f, -9, -2};
  spec.types.assign(8, TokenType::kNormal);
  spec.types[0] = TokenType::kUnknown;
  spec.unk = 0;
  spec.add_space_prefix = true;
  const auto t = make(spec);
  EXPECT_EQ(pieces_of(*t, "abc"), (Pieces{"▁a", "b", "c"}));
  EXPECT_EQ(pieces_of(*t, "xyab"), (Pieces{"▁", "<unk>", "ab"}));
}

TEST(WordPiece, LongestPiecesFirst) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWordPiece;
  spec.pieces = {"[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "##a", "cafe", ",", "中"};
  spec.types.assign(spec.pieces.size(), TokenType::kNormal);
  spec.types[0] = TokenType::kUnknown;
  spec.types[1] = spec.types[2] = TokenType::kControl;
  spec.unk = 0;
  spec.bos = 1;
  spec.eos = 2;
  spec.add_bos = spec.add_eos = true;
  const auto t = make(spec);
  EXPECT_EQ(t->encode("Unaffable, CAFÉ中 zzz", SpecialTokens::kAdd, false),
            (Ids{1, 3, 4, 5, 8, 7, 9, 0, 2}));
  EXPECT_EQ(detokenize(*t, Ids{1, 3, 4, 5, 8, 7, 2}, {}), "unaffable, cafe");
}

TEST(Tokenizer, RefusesContradictions) {
  const auto expect = [](TokenizerSpec spec, std::string_view part) {
    const std::string why = why_not(std::move(spec));
    EXPECT_NE(why.find(part), std::string::npos) << "got: " << why;
  };
  auto spec = small_spec();
  spec.merges.emplace_back("zz", "q");
  expect(spec, "names \"zz\", which is no token");
  spec = small_spec();
  spec.pieces[260] = spec.pieces[259];
  expect(spec, "spelled the same");
  spec = small_spec();
  spec.pieces[65] = "renamed";
  expect(spec, "no token stands for the byte 0x41");
  spec = small_spec();
  spec.eos = 99999;
  expect(spec, "EOS token has id 99999");
  spec = small_spec();
  spec.unk = -1;
  expect(spec, "unknown token has id -1");
  spec = small_spec();
  spec.types.pop_back();
  expect(spec, "token types");
  spec = small_spec();
  spec.pieces.back() = "\xFF\xFE";
  expect(spec, "not valid UTF-8");
  spec = small_spec();
  spec.pieces.back() = std::string(limits::kMaxTokenBytes + 1, 'x');
  expect(spec, "at most");
  spec = small_spec();
  spec.add_bos = true;
  expect(spec, "names none");
  spec = small_spec();
  spec.pre = "nonsense";
  expect(spec, "known are: a.x-4.0, ");
  expect(TokenizerSpec{}, "no tokens");
  spec = sentence_piece_spec({"a"});
  spec.types[9] = TokenType::kNormal;
  spec.unk.reset();
  expect(spec, "255 of the 256 byte tokens");
  spec = sentence_piece_spec({"a"});
  spec.scores[3] = std::numeric_limits<float>::quiet_NaN();
  expect(spec, "not a finite number");
  spec = sentence_piece_spec({"a"});
  spec.scores.pop_back();
  expect(spec, "scores");
  spec = sentence_piece_spec({"a"});
  spec.precompiled_charsmap = std::string("\x08\0\0\0abc", 7);
  expect(spec, "character map");
}

TEST(Tokenizer, OutOfRangeIdsAreEmpty) {
  const auto t = make(small_spec());
  for (const int32_t id : {-1, t->vocab_size(), INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(t->token_bytes(id), "");
    EXPECT_EQ(t->token_piece(id), "");
    EXPECT_FALSE(t->is_special(id));
  }
}

TEST(Tokenizer, ThreadsShareOne) {
  const auto t = make(small_spec());
  const Ids expected = ids_of(*t, "hello world hello <|end|>");
  std::vector<int> wrong(4);
  {
    std::vector<std::jthread> threads;
    for (int& count : wrong) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) count += ids_of(*t, "hello world hello <|end|>") != expected;
      });
    }
  }
  EXPECT_EQ(wrong, std::vector<int>(4));
}

}  // namespace
}  // namespace sluice::text
