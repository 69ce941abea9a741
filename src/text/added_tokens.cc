#include "text/added_tokens.h"

#include <fmt/format.h>

#include "text/unicode.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

// Start of the last character of non-empty valid text.
size_t last_char(std::string_view text) {
  size_t at = text.size() - 1;
  while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

}  // namespace

Result<AddedTokens> AddedTokens::create(std::vector<AddedToken> tokens) {
  AddedTokens added;
  added.tokens_ = std::move(tokens);
  std::vector<std::pair<std::string_view, int32_t>> entries;
  for (size_t i = 0; i < added.tokens_.size(); ++i) {
    const AddedToken& token = added.tokens_[i];
    if (token.content.size() > kMaxContentBytes) {
      return fail(Code::kTooLarge,
                  fmt::format("the added token {} has {} bytes; at most {} are read", token.id,
                              token.content.size(), kMaxContentBytes));
    }
    if (!is_valid_utf8(token.content)) {
      return invalid(fmt::format("the added token {} is not valid UTF-8", token.id));
    }
    if (token.content.empty()) continue;
    entries.emplace_back(token.content, static_cast<int32_t>(i));
    added.starts_[static_cast<unsigned char>(token.content[0])] = true;
  }
  added.trie_ = PieceTrie(std::move(entries));
  return added;
}

std::optional<AddedMatch> AddedTokens::accept(const AddedToken& token, std::string_view text,
                                              size_t from, size_t at) const {
  size_t begin = at;
  size_t end = at + token.content.size();
  if (token.single_word) {
    const bool joins_left =
        begin > 0 && is_word(decode_valid(text.substr(last_char(text.substr(0, begin)))).code);
    const bool joins_right = end < text.size() && is_word(decode_valid(text.substr(end)).code);
    if (joins_left || joins_right) return std::nullopt;
  }
  while (token.lstrip && begin > from) {
    const size_t previous = last_char(text.substr(0, begin));
    if (!is_space(decode_valid(text.substr(previous)).code)) break;
    begin = previous;
  }
  while (token.rstrip && end < text.size()) {
    const DecodedChar next = decode_valid(text.substr(end));
    if (!is_space(next.code)) break;
    end += next.length;
  }
  return AddedMatch{{begin, end}, token.id};
}

}  // namespace sluice::text
