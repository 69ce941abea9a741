// Tokenizer: text ↔ token ids of one model.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/tokenizer_spec.h"

namespace sluice::text {

// A piece of a rendered prompt. Text that came from a caller (`trusted` false) never yields special
// tokens (AddedToken::trusted_only), however it is spelled; text of the template does.
struct Segment {
  std::string text;
  bool trusted = false;
};

enum class SpecialTokens { kAdd, kOmit };  // the tokenizer's own BOS/EOS around the text

// Immutable; callable from any thread at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Builds the tokenizer that `spec` describes, after complete_spec(); refuses contradictions (ids
  // out of range, merges that name missing tokens, no byte fallback where one is needed, patterns
  // that do not compile).
  static Result<std::unique_ptr<Tokenizer>> create(TokenizerSpec spec);

  // Invalid UTF-8 is read as U+FFFD per maximal subpart (as the Unicode standard recommends).
  // Special tokens are recognised in trusted segments only. Equal to encoding the concatenation
  // when no untrusted text spells a special token.
  virtual std::vector<int32_t> encode(std::span<const Segment> segments,
                                      SpecialTokens special) const = 0;
  // One segment.
  std::vector<int32_t> encode(std::string_view text, SpecialTokens special, bool trusted) const;

  // The bytes that a token stands for in running text (a special token: its name), before any
  // cleanup. Empty for ids out of range.
  virtual std::string_view token_bytes(int32_t id) const = 0;
  // The token as the vocabulary spells it ("Ġthe", "▁the", "<0x0A>").
  virtual std::string_view token_piece(int32_t id) const = 0;
  virtual bool is_special(int32_t id) const = 0;  // control and unknown tokens: hidden from output
  virtual std::optional<int32_t> find_piece(std::string_view piece) const = 0;

  virtual int32_t vocab_size() const = 0;
  virtual const TokenizerSpec& spec() const = 0;
};

struct DetokenizeOptions {
  bool skip_special = true;
  // The ids go on from a prompt: a leading space that SentencePiece puts before a text is then
  // real.
  bool continues = false;
};

// Turns a stream of token ids into text. Never emits half a UTF-8 character: bytes that may still
// become one wait for the next token. One per sequence, one thread.
class Detokenizer {
 public:
  Detokenizer(const Tokenizer& tokenizer, DetokenizeOptions options);

  // Text that became complete with this token (may be empty).
  std::string push(int32_t id);
  // What is left at the end; an unfinished character comes as U+FFFD.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  DetokenizeOptions options_;
  std::string pending_;
  bool at_start_ = true;
  int strip_left_ = 0;  // spaces still to be dropped at the start
};

// All of `ids` at once.
std::string detokenize(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                       DetokenizeOptions options);

}  // namespace sluice::text
