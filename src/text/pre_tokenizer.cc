#include "text/pre_tokenizer.h"

#include <algorithm>

#include "text/byte_alphabet.h"
#include "text/pre_patterns.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

using pretokenize::Behavior;

// Collects maximal runs (or, if `single`, single characters) that satisfy `is_match`.
template <typename Predicate>
void find_chars(std::string_view text, size_t base, bool single, Predicate is_match,
                std::vector<TextRange>& out) {
  bool in_run = false;
  for (size_t i = 0; i < text.size();) {
    const DecodedChar c = decode_valid(text.substr(i));
    const bool match = is_match(c.code);
    if (match && in_run && !single) {
      out.back().end = base + i + c.length;
    } else if (match) {
      out.push_back({base + i, base + i + c.length});
    }
    in_run = match;
    i += c.length;
  }
}

// Splits every range of `words` at what `find` reports for it.
template <typename Find>
void refine(Words& words, Behavior behavior, bool invert, Find find) {
  std::vector<TextRange> out;
  out.reserve(words.ranges.size() * 2);
  std::vector<TextRange> matches;
  for (const TextRange& range : words.ranges) {
    matches.clear();
    find(std::string_view(words.text).substr(range.begin, range.end - range.begin), range.begin,
         matches);
    split_at(matches, range, behavior, invert, out);
  }
  words.ranges = std::move(out);
}

void find_literal(std::string_view text, size_t base, std::string_view pattern,
                  std::vector<TextRange>& out) {
  if (pattern.empty()) return;
  for (size_t at = text.find(pattern); at != std::string_view::npos;
       at = text.find(pattern, at + pattern.size())) {
    out.push_back({base + at, base + at + pattern.size()});
  }
}

void find_regex(std::string_view text, size_t base, const Regex& regex,
                std::vector<TextRange>& out) {
  RegexScanner scanner(regex, text);
  while (const auto match = scanner.next()) {
    out.push_back({base + match->begin, base + match->end});
  }
}

// Rewrites each word through `change(word, index)`, which returns the new bytes.
template <typename Change>
void rewrite(Words& words, Change change) {
  std::string text;
  text.reserve(words.text.size() + 8);
  for (size_t i = 0; i < words.ranges.size(); ++i) {
    TextRange& range = words.ranges[i];
    const size_t begin = text.size();
    change(std::string_view(words.text).substr(range.begin, range.end - range.begin), i, text);
    range = {begin, text.size()};
  }
  words.text = std::move(text);
}

void metaspace(Words& words, const pretokenize::Metaspace& step, bool first) {
  const std::string& mark = step.replacement;
  rewrite(words, [&](std::string_view word, size_t index, std::string& out) {
    const bool at_start = first && index == 0;
    const bool wanted = step.prepend == pretokenize::Prepend::kAlways ||
                        (step.prepend == pretokenize::Prepend::kFirst && at_start);
    if (wanted && !word.starts_with(' ') && !word.starts_with(mark)) out += mark;
    for (const char c : word) c == ' ' ? out += mark : out += c;
  });
  if (!step.split) return;
  refine(words, Behavior::kMergedWithNext, false,
         [&](std::string_view text, size_t base, std::vector<TextRange>& out) {
           find_literal(text, base, mark, out);
         });
}

void byte_level(Words& words, const pretokenize::ByteLevel& step, const Regex* regex,
                bool more_follow) {
  if (step.add_prefix_space) {
    rewrite(words, [](std::string_view word, size_t, std::string& out) {
      if (!word.starts_with(' ')) out += ' ';
      out += word;
    });
  }
  if (regex != nullptr) {
    refine(words, Behavior::kIsolated, false,
           [&](std::string_view text, size_t base, std::vector<TextRange>& out) {
             find_regex(text, base, *regex, out);
           });
  }
  if (more_follow) {
    rewrite(words,
            [](std::string_view word, size_t, std::string& out) { out += to_byte_alphabet(word); });
    words.in_byte_alphabet = true;
  }
}

template <typename Predicate>
void split_chars(Words& words, Behavior behavior, bool single, Predicate is_match) {
  refine(words, behavior, false,
         [&](std::string_view text, size_t base, std::vector<TextRange>& out) {
           find_chars(text, base, single, is_match, out);
         });
}

// \w+|[^\w\s]+: runs of word characters, runs of other marks, no whitespace.
void whitespace_words(Words& words) {
  const auto kind = [](char32_t c) { return is_space(c) ? 0 : is_word(c) ? 1 : 2; };
  refine(words, Behavior::kRemoved, true,
         [&](std::string_view text, size_t base, std::vector<TextRange>& out) {
           int last = 0;
           for (size_t i = 0; i < text.size();) {
             const DecodedChar c = decode_valid(text.substr(i));
             const int now = kind(c.code);
             if (now != 0 && now == last) {
               out.back().end = base + i + c.length;
             } else if (now != 0) {
               out.push_back({base + i, base + i + c.length});
             }
             last = now;
             i += c.length;
           }
         });
}

// Matches and the gaps between them, without empty ones.
struct Part {
  TextRange range;
  bool match;
};

}  // namespace

void split_at(const std::vector<TextRange>& matches, TextRange within, Behavior behavior,
              bool invert, std::vector<TextRange>& out) {
  const size_t first = out.size();
  bool last_matched = false;
  bool any = false;
  TextRange held{within.begin, within.begin};  // kMergedWithNext: a match that waits for its gap
  const auto add = [&](TextRange part, bool match) {
    const bool extends = any && out.size() > first;
    switch (behavior) {
      case Behavior::kRemoved:
        if (!match && part.begin < part.end) out.push_back(part);
        break;
      case Behavior::kIsolated:
        if (part.begin < part.end) out.push_back(part);
        break;
      case Behavior::kContiguous:
        if (extends && last_matched == match) {
          out.back().end = part.end;
        } else {
          out.push_back(part);
        }
        break;
      case Behavior::kMergedWithPrevious:
        if (match && !last_matched && extends) {
          out.back().end = part.end;
        } else {
          out.push_back(part);
        }
        break;
      case Behavior::kMergedWithNext:
        if (match) {
          if (held.begin < held.end) out.push_back(held);
          held = part;
        } else {
          out.push_back({held.begin < held.end ? held.begin : part.begin, part.end});
          held = {part.end, part.end};
        }
        break;
    }
    last_matched = match;
    any = true;
  };
  size_t done = within.begin;
  for (const TextRange& match : matches) {
    if (done < match.begin) add({done, match.begin}, invert);
    add(match, !invert);
    done = match.end;
  }
  if (done < within.end) add({done, within.end}, invert);
  if (held.begin < held.end) out.push_back(held);
  const auto begin = out.begin() + static_cast<std::ptrdiff_t>(first);
  out.erase(std::remove_if(begin, out.end(), [](const TextRange& r) { return r.begin == r.end; }),
            out.end());
}

Result<PreTokenizer> PreTokenizer::create(const std::vector<pretokenize::Step>& steps) {
  PreTokenizer pre;
  for (const pretokenize::Step& step : steps) {
    CompiledStep compiled{step, nullptr};
    std::string_view pattern;
    if (const auto* split = std::get_if<pretokenize::Split>(&step); split && split->regex) {
      pattern = split->pattern;
    }
    if (const auto* bytes = std::get_if<pretokenize::ByteLevel>(&step); bytes && bytes->use_regex) {
      pattern = kGpt2Pattern;
    }
    if (!pattern.empty()) {
      SLUICE_ASSIGN_OR_RETURN(Regex regex, Regex::compile(pattern));
      compiled.regex = std::make_shared<Regex>(std::move(regex));
    }
    pre.steps_.push_back(std::move(compiled));
  }
  return pre;
}

Words PreTokenizer::split(std::string fragment, bool first) const {
  Words words{std::move(fragment), {}, false};
  if (words.text.empty()) return words;
  words.ranges.push_back({0, words.text.size()});
  const auto is_mark = [](char32_t c) { return is_punctuation(c); };
  for (const CompiledStep& compiled : steps_) {
    const pretokenize::Step& step = compiled.step;
    if (const auto* at = std::get_if<pretokenize::Split>(&step)) {
      refine(words, at->behavior, at->invert,
             [&](std::string_view text, size_t base, std::vector<TextRange>& out) {
               compiled.regex ? find_regex(text, base, *compiled.regex, out)
                              : find_literal(text, base, at->pattern, out);
             });
    } else if (const auto* bytes = std::get_if<pretokenize::ByteLevel>(&step)) {
      byte_level(words, *bytes, compiled.regex.get(), &compiled != &steps_.back());
    } else if (const auto* meta = std::get_if<pretokenize::Metaspace>(&step)) {
      metaspace(words, *meta, first);
    } else if (const auto* digits = std::get_if<pretokenize::Digits>(&step)) {
      split_chars(words, digits->individual ? Behavior::kIsolated : Behavior::kContiguous,
                  digits->individual, is_number);
    } else if (std::get_if<pretokenize::Whitespace>(&step)) {
      whitespace_words(words);
    } else if (std::get_if<pretokenize::WhitespaceSplit>(&step)) {
      split_chars(words, Behavior::kRemoved, true, is_space);
    } else if (std::get_if<pretokenize::Bert>(&step)) {
      split_chars(words, Behavior::kRemoved, true, is_space);
      split_chars(words, Behavior::kIsolated, true, is_mark);
    } else if (const auto* marks = std::get_if<pretokenize::Punctuation>(&step)) {
      split_chars(words, marks->behavior, true, is_mark);
    }
  }
  return words;
}

}  // namespace sluice::text
