// Filters that yield strings. What is no string is printed first, as in Jinja.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "base/limits.h"
#include "text/template_builtins.h"

namespace sluice::text::jinja {
namespace {

Value as_text(Heap& heap, const Value& value) {
  if (value.is_string()) return value;
  TextBuilder out;
  print(value, out);
  return heap.string(std::move(out));
}

// The filter of the same name as a method of strings.
template <size_t kSize>
struct Name {
  constexpr Name(const char (&name)[kSize]) { std::copy_n(name, kSize, text); }
  char text[kSize];
};

template <Name kName>
Result<Value> by_method(Heap& heap, const Value& value, const Args& args) {
  const Value text = as_text(heap, value);
  return find_string_method(kName.text)(heap, text, args);
}

Result<Value> string(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("string", args, {}));
  return as_text(heap, value);
}

Result<Value> trim(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("trim", args, {"chars"}));
  SLUICE_ASSIGN_OR_RETURN(const std::string chars, bound.string(0, ""));
  const Value text = as_text(heap, value);
  heap.meter().step(text.bytes().size() / 64);
  const bool given = bound[0] != nullptr && !bound[0]->is_none();
  const Range kept = strip(text.bytes(), Side::kBoth, given ? &chars : nullptr);
  return heap.slice(text.text(), kept.begin, kept.end);
}

Result<Value> replace_filter(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("replace", args, {"old", "new", "count"}, 2));
  SLUICE_ASSIGN_OR_RETURN(const Int most, bound.integer(2, -1));
  const Value from = as_text(heap, *bound[0]);
  const Value to = as_text(heap, *bound[1]);
  return replace(heap, as_text(heap, value).text(), from.text(), to.text(), most);
}

Result<Value> center(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("center", args, {"width"}));
  SLUICE_ASSIGN_OR_RETURN(const Int width, bound.integer(0, 80));
  Args method;
  method.positional.emplace_back(width);
  return find_string_method("center")(heap, as_text(heap, value), method);
}

// Words begin after spaces, hyphens and opening brackets.
Result<Value> title(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("title", args, {}));
  const Value text = as_text(heap, value);
  heap.meter().step(text.bytes().size() / 16);
  TextBuilder out;
  CharReader reader(text.text());
  const auto separates = [](char32_t c) {
    return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  size_t begin = 0;
  bool in_separator = true;
  const auto flush = [&](size_t end) {
    size_t length = 0;
    if (begin == end) return;
    decode(text.bytes(), begin, length);
    TextBuilder head;
    TextBuilder tail;
    head.append(text.text(), begin, begin + length);
    tail.append(text.text(), begin + length, end);
    change_case(head.text(), Case::kUpper, out);
    change_case(tail.text(), Case::kLower, out);
    begin = end;
  };
  while (reader.next()) {
    if (separates(reader.code()) == in_separator) continue;
    flush(reader.begin());
    in_separator = !in_separator;
  }
  flush(text.bytes().size());
  return heap.string(std::move(out));
}

Result<Value> truncate(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound,
                          bind("truncate", args, {"length", "killwords", "end", "leeway"}));
  SLUICE_ASSIGN_OR_RETURN(const Int length, bound.integer(0, 255));
  SLUICE_ASSIGN_OR_RETURN(const Int leeway, bound.integer(3, 5));
  const Value end = as_text(heap, bound[2] != nullptr ? *bound[2] : Value::literal("..."));
  Value text = as_text(heap, value);
  const std::string& bytes = text.bytes();
  heap.meter().step(bytes.size() / 64);
  const Int end_chars = Int{count_chars(end.bytes())};
  if (length < end_chars || leeway < 0) {
    return invalid("truncate() needs a length that holds its end, and a leeway of 0 or more");
  }
  if (Int{count_chars(bytes)} <= length + leeway) return text;
  size_t cut = char_offset(bytes, static_cast<size_t>(length - end_chars));
  if (!bound.flag(1, false)) {
    const size_t space = std::string_view(bytes).substr(0, cut).rfind(' ');
    if (space != std::string_view::npos) cut = space;
  }
  TextBuilder out;
  out.append(text.text(), 0, cut);
  out.append(end.text());
  return heap.string(std::move(out));
}

Result<Value> indent(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("indent", args, {"width", "first", "blank"}));
  Value indentation;
  if (bound[0] != nullptr && bound[0]->is_string()) {
    indentation = *bound[0];
  } else {
    SLUICE_ASSIGN_OR_RETURN(const Int width, bound.integer(0, 4));
    indentation = repeat_text(heap, Text::of(" ", true), width);
  }
  const bool blank = bound.flag(2, false);
  const Value text = as_text(heap, value);
  const std::string& bytes = text.bytes();
  heap.meter().step(bytes.size() / 16);
  TextBuilder out;
  CharReader reader(text.text());
  size_t begin = 0;
  bool first = true;
  const auto line = [&](size_t end) {
    if (!first) out.append("\n", true);
    const bool wanted = first ? bound.flag(1, false) : blank || end > begin;
    if (wanted) out.append(indentation.text());
    out.append(text.text(), begin, end);
    first = false;
  };
  while (reader.next() && !out.overflowed()) {
    if (!is_line_end(reader.code())) continue;
    const size_t end = reader.begin();
    if (reader.code() == '\r' && reader.end() < bytes.size() && bytes[reader.end()] == '\n') {
      reader.next();
    }
    line(end);
    begin = reader.end();
  }
  line(bytes.size());
  return heap.string(std::move(out));
}

Result<Value> escape(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("escape", args, {}));
  const Value text = as_text(heap, value);
  TextBuilder out;
  CharReader reader(text.text());
  while (reader.next()) {
    static constexpr std::string_view kSpecial = "&<>'\"";
    static constexpr std::array<std::string_view, 5> kEscaped = {"&amp;", "&lt;", "&gt;", "&#39;",
                                                                 "&#34;"};
    const size_t at = reader.code() < 0x80 ? kSpecial.find(static_cast<char>(reader.code()))
                                           : std::string_view::npos;
    if (at == std::string_view::npos) {
      out.append(text.text(), reader.begin(), reader.end());
    } else {
      out.append(kEscaped[at], reader.trusted());
    }
  }
  return heap.string(std::move(out));
}

void quote_url(std::string_view bytes, bool query, std::string& out) {
  for (const char c : bytes) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
    if (plain) {
      out.push_back(c);
    } else if (c == ' ' && query) {
      out.push_back('+');
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<uint8_t>(c));
    }
  }
}

Result<Value> urlencode(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("urlencode", args, {}));
  std::string out;
  if (!value.is_dict() && !value.is_list()) {
    const Value text = as_text(heap, value);
    quote_url(text.bytes(), false, out);
    return heap.string(out, text.text().trusted());
  }
  const auto pair = [&](const Value& key, const Value& item) {
    if (!out.empty()) out.push_back('&');
    quote_url(as_text(heap, key).bytes(), true, out);
    out.push_back('=');
    quote_url(as_text(heap, item).bytes(), true, out);
  };
  if (value.is_dict()) {
    for (const auto& [key, item] : value.dict().entries) pair(key, item);
  } else {
    for (const Value& each : value.list().items) {
      SLUICE_ASSIGN_OR_RETURN(const auto parts, iterate(heap, each));
      if (parts.size() != 2) return invalid("urlencode takes a string, a dict or pairs");
      pair(parts[0], parts[1]);
    }
  }
  return heap.string(out, value.trusted());
}

Result<Value> wordcount(Heap& heap, const Value& value, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("wordcount", args, {}));
  const Value text = as_text(heap, value);
  heap.meter().step(text.bytes().size() / 64);
  size_t count = 0;
  bool inside = false;
  CharReader reader(text.text());
  while (reader.next()) {
    const bool word = is_word(reader.code());
    if (word && !inside) ++count;
    inside = word;
  }
  return count;
}

// One line into lines of at most `width` characters, cut at spaces.
class Wrapper {
 public:
  Wrapper(const Text& text, size_t width, bool cut_words, const Text& end, TextBuilder& out)
      : text_(text), width_(width), cut_words_(cut_words), end_(end), out_(out) {}

  void line(size_t begin, size_t end) {
    used_ = 0;
    space_ = {begin, begin};
    size_t at = begin;
    while (at < end) {
      const size_t word = run(at, end, true);
      space_ = {at, word};
      at = run(word, end, false);
      if (at > word) place(word, at);
    }
  }

 private:
  // The end of the run of spaces or of other characters that begins at `at`.
  size_t run(size_t at, size_t end, bool spaces) const {
    size_t length = 0;
    while (at < end && is_space(decode(text_.bytes, at, length)) == spaces) at += length;
    return at;
  }
  size_t chars(size_t begin, size_t end) const {
    return count_chars(std::string_view(text_.bytes).substr(begin, end - begin));
  }
  void new_line() {
    out_.append(end_);
    used_ = 0;
  }
  void place(size_t begin, size_t end) {
    const size_t gap = chars(space_.begin, space_.end);
    size_t size = chars(begin, end);
    if (used_ > 0 && used_ + gap + size > width_ && !(cut_words_ && size > width_)) new_line();
    if (used_ > 0 && used_ + gap >= width_) new_line();
    if (used_ > 0) {
      out_.append(text_, space_.begin, space_.end);
      used_ += gap;
    }
    while (cut_words_ && used_ + size > width_) {
      const size_t room = width_ - used_;
      const size_t cut =
          begin + char_offset(std::string_view(text_.bytes).substr(begin, end - begin), room);
      out_.append(text_, begin, cut);
      new_line();
      begin = cut;
      size -= room;
    }
    out_.append(text_, begin, end);
    used_ += size;
  }

  const Text& text_;
  const size_t width_;
  const bool cut_words_;
  const Text& end_;
  TextBuilder& out_;
  size_t used_ = 0;
  Range space_{0, 0};
};

Result<Value> wordwrap(Heap& heap, const Value& value, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(
      const Bound bound,
      bind("wordwrap", args, {"width", "break_long_words", "wrapstring", "break_on_hyphens"}));
  SLUICE_ASSIGN_OR_RETURN(const Int width, bound.integer(0, 79));
  if (width < 1) return invalid("wordwrap needs a width of 1 or more");
  const Value end =
      as_text(heap, bound[2] != nullptr && !bound[2]->is_none() ? *bound[2] : Value::literal("\n"));
  const Value text = as_text(heap, value);
  const std::string& bytes = text.bytes();
  heap.meter().step(bytes.size() / 4);
  TextBuilder out;
  const Int most = limits::kMaxTemplateOutput;
  Wrapper wrapper(text.text(), static_cast<size_t>(std::min(width, most)), bound.flag(1, true),
                  end.text(), out);
  for (size_t begin = 0; begin < bytes.size() && !out.overflowed();) {
    const size_t newline = std::min(bytes.find('\n', begin), bytes.size());
    if (begin > 0) out.append(end.text());
    wrapper.line(begin, newline);
    begin = newline + 1;
  }
  return heap.string(std::move(out));
}

Result<Value> format(Heap& heap, const Value& value, const Args& args) {
  const Value text = as_text(heap, value);
  if (args.named.empty()) {
    return format_percent(heap, text.text(), heap.list(args.positional, Shape::kTuple));
  }
  if (!args.positional.empty()) return invalid("format takes positional or named values, not both");
  std::vector<Dict::Entry> entries;
  entries.reserve(args.named.size());
  for (const auto& [name, item] : args.named) entries.emplace_back(Value::literal(name), item);
  return format_percent(heap, text.text(), heap.merged_dict(std::move(entries)));
}

constexpr auto kFilters = std::to_array<Named<Filter>>({
    {"capitalize", by_method<"capitalize">},
    {"center", center},
    {"e", escape},
    {"escape", escape},
    {"format", format},
    {"indent", indent},
    {"lower", by_method<"lower">},
    {"replace", replace_filter},
    {"safe", string},
    {"string", string},
    {"title", title},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", by_method<"upper">},
    {"urlencode", urlencode},
    {"wordcount", wordcount},
    {"wordwrap", wordwrap},
});

}  // namespace

Filter find_string_filter(std::string_view name) {
  const auto* it = std::ranges::find(kFilters, name, &Named<Filter>::first);
  return it == kFilters.end() ? nullptr : it->second;
}

}  // namespace sluice::text::jinja
