// Detokenizer: ids to text, piece by piece. See tokenizer.h.
#include <array>
#include <utility>

#include "text/tokenizer.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

// The joins that BERT's tokenizer undoes around punctuation, in this order.
constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kCleanups = {{
    {" .", "."},
    {" ?", "?"},
    {" !", "!"},
    {" ,", ","},
    {" ' ", "'"},
    {" n't", "n't"},
    {" 'm", "'m"},
    {" do not", " don't"},
    {" 's", "'s"},
    {" 've", "'ve"},
    {" 're", "'re"},
}};

void clean_up(std::string& text) {
  for (const auto& [from, to] : kCleanups) {
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
      text.replace(at, from.size(), to);
      at += to.size();
    }
  }
}

}  // namespace

Detokenizer::Detokenizer(const Tokenizer& tokenizer, DetokenizeOptions options)
    : tokenizer_(tokenizer),
      options_(options),
      at_start_(!options.continues),
      strip_left_(options.continues ? 0 : tokenizer.spec().pipeline->decoder.strip_start) {}

std::string Detokenizer::push(int32_t id) {
  const bool special = tokenizer_.is_special(id);
  if (special && options_.skip_special) return {};
  const Decoder& decoder = tokenizer_.spec().pipeline->decoder;
  std::string text(tokenizer_.token_bytes(id));
  if (special && decoder.words) text.insert(0, " ");
  if (at_start_ && !special && decoder.strip_first_piece) std::erase(text, ' ');
  if (at_start_ && decoder.words && text.starts_with(' ')) text.erase(0, 1);
  if (decoder.words && decoder.cleanup) clean_up(text);
  while (strip_left_ > 0 && text.starts_with(' ')) {
    text.erase(0, 1);
    --strip_left_;
  }
  if (!text.empty()) strip_left_ = 0;
  at_start_ = false;
  pending_ += text;
  return take_complete(pending_);
}

std::string Detokenizer::finish() {
  std::string rest = repair_utf8(pending_);
  pending_.clear();
  return rest;
}

std::string detokenize(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                       DetokenizeOptions options) {
  Detokenizer detokenizer(tokenizer, options);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.push(id);
  return text += detokenizer.finish();
}

}  // namespace sluice::text
