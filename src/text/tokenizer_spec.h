// TokenizerSpec: a tokenizer as data, whatever file it came from. See tokenizer.h.
//
// Text runs through the stages of Pipeline in this order: added tokens are cut out of the raw text,
// each remaining fragment is normalized, added tokens that want normalized text are cut out of it,
// the rest is split into words, and the model turns words into ids. The stages mirror those of
// Hugging Face's tokenizer.json, so that any such file can be expressed; for GGUF files and
// SentencePiece models complete_spec() writes the equivalent pipeline.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"

namespace sluice::text {

enum class TokenizerKind {
  kByteBpe,           // merges by rank over bytes; pieces are spelled in GPT-2's byte alphabet
  kSentencePieceBpe,  // over characters: merges by rank if there are merges, else by score
  kUnigram,
  kWordPiece,
};

enum class TokenType : uint8_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

// A token that is looked for in the text itself, before any model runs. Flags as in tokenizer.json.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool lstrip = false;       // swallows the whitespace before it
  bool rstrip = false;       // swallows the whitespace after it
  bool single_word = false;  // not inside a longer word
  bool normalized = false;   // looked for in the normalized text
  // Recognised in trusted text only. Every control token, and chat markers whatever their type.
  bool trusted_only = false;
};

namespace normalize {
enum class Form { kNfc, kNfd, kNfkc, kNfkd };
struct Unicode {
  Form form = Form::kNfc;
};
struct Lowercase {};
struct StripAccents {};  // all combining marks
struct Strip {
  bool left = true;
  bool right = true;
};
struct Replace {
  std::string pattern;
  bool regex = false;
  std::string content;
};
struct Prepend {
  std::string text;
};
struct Bert {
  bool clean_text = true;
  bool chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};
// SentencePiece's compiled character map. SentencePiece takes the longest match from left to right;
// Hugging Face's library (`by_grapheme`) looks up whole grapheme clusters of up to 5 bytes, taking
// the shortest key that one begins with, and then single characters.
struct Precompiled {
  std::string charsmap;
  bool by_grapheme = false;
};
// SentencePiece's whitespace rules after its character map.
struct Spaces {
  bool collapse = false;  // runs become one, none at both ends
  bool prefix = false;    // a space before the text
  bool escape = true;     // ' ' becomes U+2581
  // The ends that count are those of the whole text (SentencePiece), not of each fragment between
  // added tokens (readers of GGUF files).
  bool whole_text = false;
};
using Step = std::variant<Unicode, Lowercase, StripAccents, Strip, Replace, Prepend, Bert,
                          Precompiled, Spaces>;
}  // namespace normalize

namespace pretokenize {
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
enum class Prepend { kAlways, kFirst, kNever };
struct Split {
  std::string pattern;
  bool regex = true;
  Behavior behavior = Behavior::kIsolated;
  bool invert = false;
};
// Maps bytes to GPT-2's alphabet for the steps that follow; `use_regex` splits by GPT-2's pattern.
struct ByteLevel {
  bool add_prefix_space = false;
  bool use_regex = true;
};
struct Metaspace {
  std::string replacement = "\u2581";
  Prepend prepend = Prepend::kAlways;
  bool split = true;
};
struct Digits {
  bool individual = false;
};
struct Whitespace {};       // \w+|[^\w\s]+
struct WhitespaceSplit {};  // at whitespace
struct Bert {};             // at whitespace, punctuation by itself
struct Punctuation {
  Behavior behavior = Behavior::kIsolated;
};
using Step = std::variant<Split, ByteLevel, Metaspace, Digits, Whitespace, WhitespaceSplit, Bert,
                          Punctuation>;
}  // namespace pretokenize

// How ids become text again.
struct Decoder {
  bool byte_level = false;     // pieces are spelled in GPT-2's byte alphabet
  bool byte_fallback = false;  // pieces "<0x00>" … "<0xFF>" are bytes
  std::string space;           // stands for ' ' in pieces; empty: nothing does
  // Spaces dropped at the start of the text: up to `strip_start`; or all that the first piece
  // begins with (Metaspace).
  int strip_start = 0;
  bool strip_first_piece = false;
  // WordPiece: words are joined by ' ', pieces with this prefix continue a word.
  bool words = false;
  std::string continuing_prefix;
  bool cleanup = false;  // " ." becomes "." and the like
};

struct Pipeline {
  std::vector<normalize::Step> normalizers;
  std::vector<pretokenize::Step> pre_tokenizers;
  Decoder decoder;
  std::vector<AddedToken> added;
  // Ids put around the text for SpecialTokens::kAdd.
  std::vector<int32_t> prefix, suffix;
  bool byte_fallback = false;  // what no piece covers becomes byte tokens
  bool fuse_unk = true;        // a run of unknown characters becomes one unknown token
  bool ignore_merges = false;  // a word that is a piece is taken whole
  bool float_scores = true;    // unigram sums in 32 bits, as SentencePiece; else 64
  // WordPiece
  std::string continuing_prefix;  // of pieces inside a word ("##")
  std::string word_prefix;        // of pieces that start one (GGUF: U+2581)
  int max_word_chars = 100;       // longer words are unknown
};

struct TokenizerSpec {
  TokenizerKind kind = TokenizerKind::kByteBpe;
  // Index = id. Pieces as the vocabulary spells them.
  std::vector<std::string> pieces;
  std::vector<TokenType> types;  // as many as pieces
  std::vector<float> scores;     // SentencePiece and unigram
  // In order of rank. Left empty in Tokenizer::spec(): the tokenizer has its own form of them.
  std::vector<std::pair<std::string, std::string>> merges;
  // Name of a known pre-tokenizer pattern ("llama-bpe", "qwen2", "gpt-2", …); see text/README.md.
  // Read only where `pipeline` is absent.
  std::string pre;
  std::optional<int32_t> bos, eos, unk, pad;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;  // SentencePiece: a leading space before the text
  bool remove_extra_whitespaces = false;
  std::string precompiled_charsmap;  // SentencePiece; see normalize::Precompiled
  // Absent: derived from the fields above by complete_spec().
  std::optional<Pipeline> pipeline;
};

// Fills spec.pipeline from kind, pre, types, add_* and the charsmap; leaves a present one alone.
// An unknown `pre` is refused with the list of those known.
Outcome complete_spec(TokenizerSpec& spec);

}  // namespace sluice::text
