// AddedTokens: finds added tokens in a text, leftmost first, the longest of those that begin at a
// place. Immutable; callable from any thread at once.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/piece_trie.h"
#include "text/regex.h"
#include "text/tokenizer_spec.h"

namespace sluice::text {

struct AddedMatch {
  TextRange range;  // with the whitespace that lstrip and rstrip swallow
  int32_t id = -1;
};

class AddedTokens {
 public:
  // Contents longer than kMaxContentBytes are refused, empty ones left out.
  static Result<AddedTokens> create(std::vector<AddedToken> tokens);

  static constexpr size_t kMaxContentBytes = 4096;

  bool empty() const { return trie_.empty(); }

  // The first match at or after `from`. `is_trusted(begin, end)` tells whether those bytes may
  // spell a trusted_only token.
  template <typename IsTrusted>
  std::optional<AddedMatch> find(std::string_view text, size_t from, IsTrusted is_trusted) const {
    for (size_t at = from; at < text.size(); ++at) {
      if (!starts_[static_cast<unsigned char>(text[at])]) continue;
      const AddedToken* found = nullptr;
      trie_.prefixes(text.substr(at), [&](size_t length, int32_t index) {
        const AddedToken& token = tokens_[static_cast<size_t>(index)];
        if (!token.trusted_only || is_trusted(at, at + length)) found = &token;
      });
      if (found == nullptr) continue;
      if (auto match = accept(*found, text, from, at)) return match;
      at += found->content.size() - 1;
    }
    return std::nullopt;
  }

 private:
  std::optional<AddedMatch> accept(const AddedToken& token, std::string_view text, size_t from,
                                   size_t at) const;

  std::vector<AddedToken> tokens_;
  PieceTrie trie_;  // values index tokens_
  std::vector<bool> starts_ = std::vector<bool>(256);
};

}  // namespace sluice::text
