// Small vocabularies for the tests of this room.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace sluice::text {

// A byte-level spec: the 256 bytes as ids 0 to 255, then one token per merge, then `special`
// control tokens.
inline TokenizerSpec byte_spec(const std::vector<std::pair<std::string, std::string>>& merges,
                               const std::vector<std::string>& special = {},
                               std::string pre = "gpt-2") {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kByteBpe;
  spec.pre = std::move(pre);
  for (int b = 0; b < 256; ++b) {
    spec.pieces.push_back(to_byte_alphabet(std::string(1, static_cast<char>(b))));
  }
  for (const auto& [left, right] : merges) {
    const std::string l = to_byte_alphabet(left);
    const std::string r = to_byte_alphabet(right);
    spec.merges.emplace_back(l, r);
    spec.pieces.push_back(l + r);
  }
  spec.types.assign(spec.pieces.size(), TokenType::kNormal);
  for (const std::string& token : special) {
    spec.pieces.push_back(token);
    spec.types.push_back(TokenType::kControl);
  }
  return spec;
}

// A SentencePiece BPE spec: <unk> <s> </s>, 256 byte tokens (3 to 258), then `pieces` with falling
// scores.
inline TokenizerSpec sentence_piece_spec(const std::vector<std::string>& pieces) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kSentencePieceBpe;
  spec.pieces = {"<unk>", "<s>", "</s>"};
  spec.types = {TokenType::kUnknown, TokenType::kControl, TokenType::kControl};
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) {
    spec.pieces.push_back(std::string("<0x") + kHex[b >> 4] + kHex[b & 15] + ">");
    spec.types.push_back(TokenType::kByte);
  }
  for (const std::string& piece : pieces) {
    spec.pieces.push_back(piece);
    spec.types.push_back(TokenType::kNormal);
  }
  for (size_t i = 0; i < spec.pieces.size(); ++i) spec.scores.push_back(-static_cast<float>(i));
  spec.unk = 0;
  spec.bos = 1;
  spec.eos = 2;
  spec.add_space_prefix = true;
  return spec;
}

inline std::unique_ptr<Tokenizer> make(TokenizerSpec spec) {
  auto tokenizer = Tokenizer::create(std::move(spec));
  EXPECT_TRUE(tokenizer) << tokenizer.error().message();
  return tokenizer ? std::move(*tokenizer) : nullptr;
}

inline std::string why_not(TokenizerSpec spec) {
  auto tokenizer = Tokenizer::create(std::move(spec));
  return tokenizer ? "" : tokenizer.error().message();
}

inline std::vector<int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text,
                                   bool trusted = true) {
  return tokenizer.encode(text, SpecialTokens::kOmit, trusted);
}

// The pieces of a text, as the vocabulary spells them.
inline std::vector<std::string> pieces_of(const Tokenizer& tokenizer, std::string_view text,
                                          bool trusted = true) {
  std::vector<std::string> pieces;
  for (const int32_t id : ids_of(tokenizer, text, trusted)) {
    pieces.emplace_back(tokenizer.token_piece(id));
  }
  return pieces;
}

using Pieces = std::vector<std::string>;
using Ids = std::vector<int32_t>;

}  // namespace sluice::text
