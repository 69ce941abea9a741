// Regex: the regular expressions of pre-tokenizers, run by PCRE2's JIT under limits.
//
// Patterns are written for Oniguruma (tokenizer.json) and read with its meaning where the dialects
// differ: \s, \S, \w, \W and their complements in brackets follow Unicode's properties, ^ and $
// match at line ends, a '[' inside brackets opens a nested set. What has no equivalent (set
// intersections, \h, \R …) is refused by name.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice::text {

struct TextRange {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const TextRange&) const = default;
};

// Immutable; callable from any thread at once.
class Regex {
 public:
  // Refuses patterns that do not compile, that are longer than kMaxPatternBytes, or that backtrack
  // without bound on simple probes.
  static Result<Regex> compile(std::string_view pattern);

  static constexpr size_t kMaxPatternBytes = 32 << 10;

  struct Compiled;
  const Compiled& compiled() const { return *compiled_; }

 private:
  std::shared_ptr<const Compiled> compiled_;
};

// Walks over the matches in one text, from left to right, without overlap. Empty matches count
// unless they touch the match before. The text must be valid UTF-8 and outlive the scanner.
class RegexScanner {
 public:
  RegexScanner(const Regex& regex, std::string_view text);

  // The next match; nothing at the end of the text, and nothing more once a match took more steps
  // than the limit allows (the rest of the text then counts as unmatched).
  std::optional<TextRange> next();
  bool gave_up() const { return gave_up_; }

 private:
  const Regex::Compiled& compiled_;
  std::string_view text_;
  size_t position_ = 0;
  std::optional<size_t> last_end_;
  bool gave_up_ = false;
};

// The pattern as PCRE2 wants it; see Regex.
Result<std::string> translate_pattern(std::string_view pattern);

}  // namespace sluice::text
