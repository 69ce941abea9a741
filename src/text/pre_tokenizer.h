// PreTokenizer: splits a normalized fragment into the words that the model encodes one by one.
// Immutable; callable from any thread at once.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/regex.h"
#include "text/tokenizer_spec.h"

namespace sluice::text {

// A fragment and the words it is cut into: non-empty, in order, maybe with gaps between them.
struct Words {
  std::string text;
  std::vector<TextRange> ranges;
  bool in_byte_alphabet = false;  // `text` is spelled in GPT-2's byte alphabet
};

class PreTokenizer {
 public:
  // Compiles the patterns.
  static Result<PreTokenizer> create(const std::vector<pretokenize::Step>& steps);

  // `fragment`: valid UTF-8. `first`: it begins where the whole text begins. If the last step is
  // ByteLevel the words stay plain bytes, otherwise they are in the alphabet.
  Words split(std::string fragment, bool first) const;

 private:
  struct CompiledStep {
    pretokenize::Step step;
    std::shared_ptr<const Regex> regex;
  };
  std::vector<CompiledStep> steps_;
};

// How a split at matches of a delimiter treats the matches; see pretokenize::Behavior. `matches`
// are in order and do not overlap; the pieces of `within` are appended to `out`.
void split_at(const std::vector<TextRange>& matches, TextRange within,
              pretokenize::Behavior behavior, bool invert, std::vector<TextRange>& out);

}  // namespace sluice::text
