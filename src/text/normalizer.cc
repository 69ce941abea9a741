#include "text/normalizer.h"

#include "text/unicode.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";

// Characters of `text` passed through `map`, which appends what each becomes.
template <typename Map>
std::string map_chars(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  while (!text.empty()) {
    const DecodedChar c = decode_valid(text);
    map(out, c.code, text.substr(0, c.length));
    text.remove_prefix(c.length);
  }
  return out;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  if (from.empty()) return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from)) {
    out += text.substr(0, at);
    out += to;
    text.remove_prefix(at + from.size());
  }
  return out += text;
}

std::string replace_matches(std::string_view text, const Regex& regex, std::string_view to) {
  std::string out;
  size_t done = 0;
  RegexScanner scanner(regex, text);
  while (const auto match = scanner.next()) {
    out += text.substr(done, match->begin - done);
    out += to;
    done = match->end;
  }
  return out += text.substr(done);
}

std::string_view strip(std::string_view text, const normalize::Strip& step) {
  while (step.left && !text.empty()) {
    const DecodedChar c = decode_valid(text);
    if (!is_space(c.code)) break;
    text.remove_prefix(c.length);
  }
  while (step.right && !text.empty()) {
    size_t start = text.size() - 1;
    while ((static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    if (!is_space(decode_valid(text.substr(start)).code)) break;
    text = text.substr(0, start);
  }
  return text;
}

template <typename Predicate>
std::string drop_chars(std::string_view text, Predicate is_dropped) {
  return map_chars(text, [&](std::string& out, char32_t code, std::string_view bytes) {
    if (!is_dropped(code)) out += bytes;
  });
}

std::string clean(std::string_view text) {
  return map_chars(text, [](std::string& out, char32_t code, std::string_view bytes) {
    if (is_space(code)) {
      const bool kept_by_bert = code == '\t' || code == '\n' || code == '\r' || !is_other(code);
      if (kept_by_bert) out += ' ';
    } else if (code != kReplacementChar && !is_other(code)) {
      out += bytes;
    }
  });
}

std::string bert(std::string text, const normalize::Bert& step) {
  if (step.clean_text) text = clean(text);
  if (step.chinese_chars) {
    text = map_chars(text, [](std::string& out, char32_t code, std::string_view bytes) {
      const bool apart = is_chinese(code);
      if (apart) out += ' ';
      out += bytes;
      if (apart) out += ' ';
    });
  }
  if (step.strip_accents) text = drop_chars(to_form(text, normalize::Form::kNfd), is_accent);
  return step.lowercase ? to_lower(text) : text;
}

std::string spaces(std::string_view text, const normalize::Spaces& step, FragmentPlace place) {
  const bool at_begin = place.first || !step.whole_text;
  const bool at_end = place.last || !step.whole_text;
  while (step.collapse && at_begin && text.starts_with(' ')) text.remove_prefix(1);
  while (step.collapse && at_end && text.ends_with(' ')) text.remove_suffix(1);
  std::string out;
  const bool before_token = step.whole_text && place.first && !place.last;
  if (text.empty() && !before_token) return out;
  out.reserve(text.size() + 8);
  const std::string_view space = step.escape ? kSpaceMark : " ";
  if (step.prefix && at_begin) out += space;
  bool after_space = false;
  for (const char c : text) {
    const bool is_blank = c == ' ';
    if (!is_blank) {
      out += c;
    } else if (!step.collapse || !after_space) {
      out += space;
    }
    after_space = is_blank;
  }
  return out;
}

}  // namespace

Result<Normalizer> Normalizer::create(const std::vector<normalize::Step>& steps) {
  Normalizer normalizer;
  for (const normalize::Step& step : steps) {
    CompiledStep compiled{step, nullptr, nullptr};
    if (const auto* replace = std::get_if<normalize::Replace>(&step); replace && replace->regex) {
      SLUICE_ASSIGN_OR_RETURN(Regex regex, Regex::compile(replace->pattern));
      compiled.regex = std::make_shared<Regex>(std::move(regex));
    } else if (const auto* map = std::get_if<normalize::Precompiled>(&step)) {
      SLUICE_ASSIGN_OR_RETURN(Charsmap charsmap, Charsmap::parse(map->charsmap));
      compiled.charsmap = std::make_shared<Charsmap>(std::move(charsmap));
    }
    if (const auto* rules = std::get_if<normalize::Spaces>(&step)) {
      normalizer.marks_start_ |= rules->whole_text && rules->prefix;
    }
    normalizer.steps_.push_back(std::move(compiled));
  }
  return normalizer;
}

std::string Normalizer::apply(std::string_view fragment, FragmentPlace place) const {
  std::string text(fragment);
  for (const CompiledStep& compiled : steps_) {
    const normalize::Step& step = compiled.step;
    if (const auto* form = std::get_if<normalize::Unicode>(&step)) {
      text = to_form(text, form->form);
    } else if (std::get_if<normalize::Lowercase>(&step)) {
      text = to_lower(text);
    } else if (std::get_if<normalize::StripAccents>(&step)) {
      text = drop_chars(text, is_mark);
    } else if (const auto* sides = std::get_if<normalize::Strip>(&step)) {
      text = std::string(strip(text, *sides));
    } else if (const auto* replace = std::get_if<normalize::Replace>(&step)) {
      text = replace->regex ? replace_matches(text, *compiled.regex, replace->content)
                            : replace_all(text, replace->pattern, replace->content);
    } else if (const auto* prepend = std::get_if<normalize::Prepend>(&step)) {
      if (!text.empty()) text.insert(0, prepend->text);
    } else if (const auto* options = std::get_if<normalize::Bert>(&step)) {
      text = bert(std::move(text), *options);
    } else if (const auto* map = std::get_if<normalize::Precompiled>(&step)) {
      text = map->by_grapheme ? compiled.charsmap->apply_by_grapheme(text)
                              : compiled.charsmap->apply(text);
    } else if (const auto* rules = std::get_if<normalize::Spaces>(&step)) {
      text = spaces(text, *rules, place);
    }
  }
  return text;
}

}  // namespace sluice::text
