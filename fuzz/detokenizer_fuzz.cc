// Encoding and streaming decoding of arbitrary bytes with a byte-level and a SentencePiece
// vocabulary: text comes back repaired, streams never hold half a character.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using namespace sluice::text;

std::unique_ptr<Tokenizer> byte_level() {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kByteBpe;
  spec.pre = "llama-bpe";
  for (int b = 0; b < 256; ++b) {
    spec.pieces.push_back(to_byte_alphabet(std::string(1, static_cast<char>(b))));
  }
  const std::vector<std::pair<std::string, std::string>> merges = {
      {"a", "b"}, {"\xE2", "\x82"}, {" ", "a"}, {"ab", "ab"}, {"\x98", "\x80"}};
  for (const auto& [left, right] : merges) {
    spec.merges.emplace_back(to_byte_alphabet(left), to_byte_alphabet(right));
    spec.pieces.push_back(spec.merges.back().first + spec.merges.back().second);
  }
  spec.types.assign(spec.pieces.size(), TokenType::kNormal);
  spec.pieces.push_back("<|end|>");
  spec.types.push_back(TokenType::kControl);
  return std::move(Tokenizer::create(std::move(spec))).value();
}

std::unique_ptr<Tokenizer> sentence_piece() {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kSentencePieceBpe;
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) {
    spec.pieces.push_back(std::string("<0x") + kHex[b >> 4] + kHex[b & 15] + ">");
    spec.types.push_back(TokenType::kByte);
  }
  for (const char* piece : {"\u2581", "a", "b", "ab", "\u2581a", "\u00e9"}) {
    spec.pieces.emplace_back(piece);
    spec.types.push_back(TokenType::kNormal);
  }
  for (size_t i = 0; i < spec.pieces.size(); ++i) spec.scores.push_back(-static_cast<float>(i));
  spec.add_space_prefix = true;
  return std::move(Tokenizer::create(std::move(spec))).value();
}

void check(const Tokenizer& tokenizer, std::string_view bytes) {
  const std::string repaired = repair_utf8(bytes);
  const auto ids = tokenizer.encode(bytes, SpecialTokens::kOmit, false);
  // U+2581 itself reads as the space that it stands for in SentencePiece's pieces.
  if (repaired.find("\u2581") == std::string::npos) {
    SLUICE_CHECK(detokenize(tokenizer, ids, {}) == repaired, "a round trip changed the text");
  }
  Detokenizer stream(tokenizer, {});
  for (const char byte : bytes) {
    SLUICE_CHECK(is_valid_utf8(stream.push(static_cast<unsigned char>(byte))),
                 "half a character came out");
  }
  SLUICE_CHECK(is_valid_utf8(stream.finish()), "half a character came out at the end");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto bytes = byte_level();
  static const auto pieces = sentence_piece();
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  check(*bytes, all);
  check(*pieces, all);
  const size_t middle = size / 2;
  const std::vector<Segment> segments = {{std::string(all.substr(0, middle)), true},
                                         {std::string(all.substr(middle)), false}};
  bytes->encode(segments, SpecialTokens::kAdd);
  return 0;
}
