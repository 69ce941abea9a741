// WordModel: turns one word (what the pre-tokenizer left together) into ids. Implementations are
// immutable and callable from any thread at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/tokenizer_spec.h"
#include "text/vocabulary.h"

namespace sluice::text {

class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the ids of `word`: valid UTF-8, not empty.
  virtual void encode(std::string_view word, std::vector<int32_t>& out) const = 0;
};

// Each takes what it needs from `spec` at once; `vocabulary` must outlive the model.
Result<std::unique_ptr<WordModel>> make_bpe(const TokenizerSpec& spec,
                                            const Vocabulary& vocabulary);
Result<std::unique_ptr<WordModel>> make_unigram(const TokenizerSpec& spec,
                                                const Vocabulary& vocabulary);
Result<std::unique_ptr<WordModel>> make_word_piece(const TokenizerSpec& spec,
                                                   const Vocabulary& vocabulary);

}  // namespace sluice::text
