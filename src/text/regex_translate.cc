// translate_pattern: Oniguruma's spelling to PCRE2's.
#include <fmt/format.h>

#include <iterator>

#include "text/regex.h"
#include "text/unicode_additions.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

// The property White_Space. PCRE2's own \s adds U+180E.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f})"
    R"(\x{3000})";
// Its complement, for use inside brackets.
constexpr std::string_view kNotSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
// Circled and squared letters, which \w matches beside letters, marks, decimal digits, letter
// numbers and connectors. PCRE2's own \w lacks the marks.
constexpr std::string_view kCircledLetters =
    R"(\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

void append_range(std::string& out, const UnicodeAddition& range) {
  fmt::format_to(std::back_inserter(out), "\\x{{{:x}}}-\\x{{{:x}}}",
                 static_cast<uint32_t>(range.first), static_cast<uint32_t>(range.last));
}

// The members of a property, for use inside brackets.
std::string property(std::string_view name) {
  std::string out = fmt::format("\\p{{{}}}", name);
  for (const UnicodeAddition& addition : kHanAdditions) {
    if (name == "Han") append_range(out, addition);
  }
  if (name.size() > 2) return out;
  for (const UnicodeAddition& addition : kUnicodeAdditions) {
    if (addition.category.starts_with(name)) append_range(out, addition);
  }
  return out;
}

const std::string& word_members() {
  static const std::string members = property("L") + property("M") + property("Nd") +
                                     property("Nl") + property("Pc") + std::string(kCircledLetters);
  return members;
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : rest_(pattern), pattern_(pattern) {}

  Result<std::string> run() {
    if (rest_.starts_with("(*")) return refuse("verbs such as (*UTF)");
    while (!rest_.empty()) {
      if (rest_[0] == '\\') {
        SLUICE_RETURN_IF_ERROR(escape(/*in_set=*/false));
      } else if (rest_[0] == '[') {
        SLUICE_RETURN_IF_ERROR(set(0));
      } else {
        copy(char_length(rest_[0]));
      }
    }
    return std::move(out_);
  }

 private:
  std::unexpected<Status> refuse(std::string_view what) const {
    return fail(Code::kUnimplemented,
                fmt::format("the pre-tokenizer pattern uses {} at byte {}, which is not supported; "
                            "expected a pattern with classes, groups, alternatives, quantifiers "
                            "and lookarounds",
                            what, pattern_.size() - rest_.size()));
  }
  void copy(size_t n) {
    out_ += rest_.substr(0, n);
    rest_.remove_prefix(std::min(n, rest_.size()));
  }
  void put(std::string_view text, size_t consumed) {
    out_ += text;
    rest_.remove_prefix(consumed);
  }

  Outcome escape(bool in_set) {
    if (rest_.size() < 2) return refuse("a backslash at the end");
    const auto bare = [&](std::string_view set, bool negated) {
      put(fmt::format("[{}{}]", negated ? "^" : "", set), 2);
    };
    switch (rest_[1]) {
      case 's':
        in_set ? put(kSpaces, 2) : bare(kSpaces, false);
        return {};
      case 'S':
        in_set ? put(kNotSpaces, 2) : bare(kSpaces, true);
        return {};
      case 'w':
        in_set ? put(word_members(), 2) : bare(word_members(), false);
        return {};
      case 'W':
        if (in_set) return refuse("\\W inside brackets");
        bare(word_members(), true);
        return {};
      case 'd':
        in_set ? put(property("Nd"), 2) : bare(property("Nd"), false);
        return {};
      case 'p':
      case 'P':
        return property_escape(in_set);
      case 'h':
      case 'H':
      case 'R':
      case 'X':
      case 'K':
      case 'C':
      case 'N':
      case 'O':
        return refuse(fmt::format("\\{}", rest_[1]));
      default:
        copy(1 + char_length(rest_[1]));
        return {};
    }
  }

  // \p{Name}, \p{^Name}, \P{Name}.
  Outcome property_escape(bool in_set) {
    const size_t close = rest_.find('}');
    if (rest_.size() < 4 || rest_[2] != '{' || close == std::string_view::npos) {
      return refuse("a property without braces");
    }
    std::string_view name = rest_.substr(3, close - 3);
    bool negated = rest_[1] == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    if (in_set && negated) {
      put(fmt::format("\\P{{{}}}", name), close + 1);
    } else if (in_set) {
      put(property(name), close + 1);
    } else {
      put(fmt::format("[{}{}]", negated ? "^" : "", property(name)), close + 1);
    }
    return {};
  }

  // A bracketed set. Nested sets are a union: their brackets are dropped.
  Outcome set(int depth) {
    if (depth > 8) return refuse("sets nested more than 8 deep");
    if (depth > 0) {
      if (rest_.starts_with("[^")) return refuse("a negated set inside a set");
      rest_.remove_prefix(1);
    } else {
      copy(rest_.starts_with("[^") ? 2 : 1);
      if (rest_.starts_with("]")) put("\\]", 1);
    }
    while (!rest_.empty() && rest_[0] != ']') {
      if (rest_[0] == '\\') {
        SLUICE_RETURN_IF_ERROR(escape(/*in_set=*/true));
      } else if (rest_.starts_with("&&")) {
        return refuse("a set intersection (&&)");
      } else if (rest_.starts_with("[:")) {
        const size_t end = rest_.find(":]");
        if (end == std::string_view::npos) return refuse("an unfinished [: class");
        copy(end + 2);
      } else if (rest_[0] == '[') {
        SLUICE_RETURN_IF_ERROR(set(depth + 1));
      } else {
        copy(char_length(rest_[0]));
      }
    }
    if (rest_.empty()) return refuse("a set without its ']'");
    depth > 0 ? rest_.remove_prefix(1) : copy(1);
    return {};
  }

  std::string_view rest_;
  std::string_view pattern_;
  std::string out_;
};

}  // namespace

Result<std::string> translate_pattern(std::string_view pattern) {
  if (!is_valid_utf8(pattern)) return invalid("the pre-tokenizer pattern is not valid UTF-8");
  return Translator(pattern).run();
}

}  // namespace sluice::text
