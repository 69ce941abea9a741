// TokenizerSpec: a tokenizer as data, whatever file it came from. See tokenizer.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice::text {

enum class TokenizerKind { kByteBpe, kSentencePieceBpe, kUnigram, kWordPiece };

enum class TokenType : uint8_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct TokenizerSpec {
  TokenizerKind kind = TokenizerKind::kByteBpe;
  // Index = id. Pieces as the vocabulary spells them.
  std::vector<std::string> pieces;
  std::vector<TokenType> types;                             // as many as pieces
  std::vector<float> scores;                                // SentencePiece and unigram
  std::vector<std::pair<std::string, std::string>> merges;  // byte-level BPE, in order of rank
  // Name of a known pre-tokenizer pattern ("llama-bpe", "qwen2", "gpt-2", …); see text/README.md.
  std::string pre;
  std::optional<int32_t> bos, eos, unk, pad;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;  // SentencePiece: a leading space before the text
};

}  // namespace sluice::text
