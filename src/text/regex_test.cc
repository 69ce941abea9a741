#include "text/regex.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include "text/pre_patterns.h"
#include "text/unicode_additions.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::compile(pattern);
  EXPECT_TRUE(regex) << regex.error().message();
  std::vector<std::string> out;
  if (!regex) return out;
  RegexScanner scanner(*regex, text);
  while (const auto match = scanner.next()) {
    out.emplace_back(text.substr(match->begin, match->end - match->begin));
  }
  return out;
}

std::string why_not(std::string_view pattern) {
  const auto regex = Regex::compile(pattern);
  return regex ? "" : regex.error().message();
}

using Strings = std::vector<std::string>;

TEST(Regex, SplitsLikeGpt2) {
  EXPECT_EQ(matches(kGpt2Pattern, "I've  12 apples!\n"),
            (Strings{"I", "'ve", " ", " 12", " apples", "!", "\n"}));
}

TEST(Regex, SpaceIsThePropertyWhiteSpace) {
  EXPECT_EQ(matches(R"(\s+)", "a\u0085b\u180ec\ufeffd\u3000e"), (Strings{"\u0085", "\u3000"}));
  EXPECT_EQ(matches(R"([^\S]+)", "a\u0085b\u180ec"), (Strings{"\u0085"}));
  EXPECT_EQ(matches(R"(\S+)", "a\u180e b"), (Strings{"a\u180e", "b"}));
}

TEST(Regex, WordCharactersHaveMarks) {
  EXPECT_EQ(matches(R"(\w+)", "e\u0301-\u24b6_1 "), (Strings{"e\u0301", "\u24b6_1"}));
}

TEST(Regex, NestedSetsAreAUnion) {
  EXPECT_EQ(matches(" ?[^(\\s|[.,!])]+", "ab cd. e|f"), (Strings{"ab", " cd", " e", "f"}));
}

TEST(Regex, EmptyMatchesSplitToo) {
  EXPECT_EQ(matches(R"((?=(\d{3})+(?!\d)))", "1234567").size(), 2u);
}

TEST(Regex, AnchorsMatchAtLines) { EXPECT_EQ(matches(R"(\s+$)", "a \nb  "), (Strings{" ", "  "})); }

TEST(Regex, RefusesByName) {
  EXPECT_NE(why_not("[a-z&&[^b]]").find("&&"), std::string::npos);
  EXPECT_NE(why_not("\\h").find("\\h"), std::string::npos);
  EXPECT_NE(why_not("(*UTF)a").find("verbs"), std::string::npos);
  EXPECT_NE(why_not("(a").find("does not compile"), std::string::npos);
  EXPECT_NE(why_not("[abc").find("']'"), std::string::npos);
  EXPECT_NE(why_not("\xFF").find("UTF-8"), std::string::npos);
  EXPECT_NE(why_not(std::string(Regex::kMaxPatternBytes + 1, 'a')).find("at most"),
            std::string::npos);
}

TEST(Regex, RefusesBombs) {
  for (const std::string_view bomb : {"(a+)+$", "(a|a)*b", "(\\w+\\s?)*\\.", "(?:a*b?)*c", "(.*)*x",
                                      "(x+x+)+y", "(é|é|ê)+!", "([a-zA-Z]+)*1"}) {
    EXPECT_NE(why_not(bomb).find("backtracks"), std::string::npos) << bomb;
  }
}

TEST(Regex, EveryKnownPatternCompiles) {
  std::string names = known_pre_patterns();
  size_t count = 0;
  for (size_t at = 0; at < names.size(); ++count) {
    const size_t end = std::min(names.find(", ", at), names.size());
    const auto known = find_pre_pattern(names.substr(at, end - at));
    ASSERT_TRUE(known) << names.substr(at, end - at);
    for (const std::string_view pattern : known->patterns) EXPECT_EQ(why_not(pattern), "");
    at = end + 2;
  }
  EXPECT_GT(count, 60u);
}

// Long runs of one kind must not exhaust a stack or a limit.
TEST(Regex, KnownPatternsTakeLongRuns) {
  for (const std::string_view name :
       {"gpt-2", "llama-bpe", "gpt-4o", "deepseek-v3", "kimi-k2", "exaone-moe"}) {
    for (const std::string_view unit : {"a", " ", "\n", "0", "中", "!", "aA", "\u0301"}) {
      std::string text;
      while (text.size() < 200'000) text += unit;
      for (const std::string_view pattern : find_pre_pattern(name)->patterns) {
        const auto regex = Regex::compile(pattern);
        ASSERT_TRUE(regex);
        RegexScanner scanner(*regex, text);
        while (scanner.next()) {
        }
        EXPECT_FALSE(scanner.gave_up()) << name << " on " << unit;
      }
    }
  }
}

// Patterns see the characters of Unicode 16.0: those that utf8proc (15.0) knows, and later ones.
TEST(Regex, PropertiesAreThoseOfUnicode16) {
  for (const char property : {'L', 'M', 'N', 'P', 'S', 'Z'}) {
    const auto regex = Regex::compile(std::string("\\p{") + property + "}");
    ASSERT_TRUE(regex);
    std::string text;
    std::vector<char32_t> expected;
    for (char32_t code = 0; code < 0x110000; ++code) {
      if (code == 0xD800) code = 0xE000;
      std::string_view category = utf8proc_category_string(static_cast<utf8proc_int32_t>(code));
      for (const UnicodeAddition& addition : kUnicodeAdditions) {
        const bool added = code >= addition.first && code <= addition.last;
        if (added && category == "Cn") category = addition.category;
        if (added) ASSERT_EQ(category, addition.category);
      }
      if (category[0] == property) expected.push_back(code);
      append_utf8(text, code);
    }
    std::vector<char32_t> found;
    RegexScanner scanner(*regex, text);
    while (const auto match = scanner.next()) {
      found.push_back(decode_valid(std::string_view(text).substr(match->begin)).code);
    }
    EXPECT_EQ(found, expected) << property;
  }
}

}  // namespace
}  // namespace sluice::text
