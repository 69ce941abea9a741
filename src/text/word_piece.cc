// WordPiece: the longest piece that matches, again and again; a word that pieces do not cover is
// unknown as a whole.
//
// Source: Devlin et al., "BERT", NAACL 2019 (and its reference tokenizer).
#include <algorithm>

#include "text/utf8.h"
#include "text/word_model.h"

namespace sluice::text {
namespace {

class WordPiece : public WordModel {
 public:
  WordPiece(const TokenizerSpec& spec, const Vocabulary& vocabulary)
      : vocabulary_(vocabulary),
        continuing_prefix_(spec.pipeline->continuing_prefix),
        word_prefix_(spec.pipeline->word_prefix),
        max_chars_(static_cast<size_t>(std::max(spec.pipeline->max_word_chars, 0))),
        unk_(spec.unk.value_or(-1)) {
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
      longest_ = std::max(longest_, vocabulary.match_text(id).size());
    }
  }

  void encode(std::string_view word, std::vector<int32_t>& out) const override {
    size_t chars = 0;
    for (size_t i = 0; i < word.size(); i += char_length(word[i])) ++chars;
    if (chars > max_chars_) return out.push_back(unk_);
    const size_t first = out.size();
    std::string key;
    for (size_t begin = 0; begin < word.size();) {
      const std::string& prefix = begin == 0 ? word_prefix_ : continuing_prefix_;
      size_t end = std::min(word.size(), begin + longest_);
      int32_t id = -1;
      for (; end > begin; --end) {
        if (end < word.size() && (static_cast<unsigned char>(word[end]) & 0xC0) == 0x80) continue;
        key.assign(prefix).append(word.substr(begin, end - begin));
        id = vocabulary_.find_match(key);
        if (id >= 0) break;
      }
      if (id < 0) {
        out.resize(first);
        return out.push_back(unk_);
      }
      out.push_back(id);
      begin = end;
    }
  }

 private:
  const Vocabulary& vocabulary_;
  const std::string continuing_prefix_;
  const std::string word_prefix_;
  const size_t max_chars_;
  const int32_t unk_;
  size_t longest_ = 0;  // bytes
};

}  // namespace

Result<std::unique_ptr<WordModel>> make_word_piece(const TokenizerSpec& spec,
                                                   const Vocabulary& vocabulary) {
  return std::make_unique<WordPiece>(spec, vocabulary);
}

}  // namespace sluice::text
