// Methods of strings.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "text/template_builtins.h"

namespace sluice::text::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;

void charge(Heap& heap, const Value& self) { heap.meter().step(self.bytes().size() / 64); }

Result<Value> strip_side(Heap& heap, const Value& self, const Args& args, std::string_view name,
                         Side side) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind(name, args, {"chars"}));
  SLUICE_ASSIGN_OR_RETURN(const std::string chars, bound.string(0, ""));
  charge(heap, self);
  const bool given = bound[0] != nullptr && !bound[0]->is_none();
  const Range kept = strip(self.bytes(), side, given ? &chars : nullptr);
  return heap.slice(self.text(), kept.begin, kept.end);
}

Result<Value> strip_both(Heap& heap, const Value& self, const Args& args) {
  return strip_side(heap, self, args, "strip", Side::kBoth);
}
Result<Value> strip_left(Heap& heap, const Value& self, const Args& args) {
  return strip_side(heap, self, args, "lstrip", Side::kLeft);
}
Result<Value> strip_right(Heap& heap, const Value& self, const Args& args) {
  return strip_side(heap, self, args, "rstrip", Side::kRight);
}

template <Case kCase>
Result<Value> cased(Heap& heap, const Value& self, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("this method", args, {}));
  charge(heap, self);
  TextBuilder out;
  change_case(self.text(), kCase, out);
  return heap.string(std::move(out));
}

// Pieces between spaces, at most `most` cuts (negative: no bound); Python's split(None).
void split_spaces(const std::string& bytes, Int most, std::vector<Range>& pieces) {
  size_t at = strip(bytes, Side::kLeft, nullptr).begin;
  size_t length = 0;
  while (at < bytes.size()) {
    if (most >= 0 && Int{pieces.size()} == most) {
      pieces.push_back({at, bytes.size()});  // with its trailing space, as in Python
      return;
    }
    size_t end = at;
    while (end < bytes.size() && !is_space(decode(bytes, end, length))) end += length;
    pieces.push_back({at, end});
    at = end;
    while (at < bytes.size() && is_space(decode(bytes, at, length))) at += length;
  }
}

void rsplit_spaces(const std::string& bytes, Int most, std::vector<Range>& pieces) {
  split_spaces(bytes, -1, pieces);
  if (most < 0 || Int{pieces.size()} <= most + 1) return;
  const auto first = pieces.end() - static_cast<ptrdiff_t>(most);
  const Range rest = {pieces.front().begin, (first - 1)->end};
  pieces.erase(pieces.begin(), first);
  pieces.insert(pieces.begin(), rest);
  pieces.front().begin = 0;  // the rest keeps its leading space, as in Python
}

std::vector<size_t> matches(const std::string& bytes, const std::string& needle) {
  std::vector<size_t> at;
  for (size_t hit = find_bytes(bytes, needle); hit != kNone; hit = find_bytes(bytes, needle, hit)) {
    at.push_back(hit);
    hit += needle.size();
  }
  return at;
}

// The cuts of rsplit: found from the right, so that overlapping matches fall as in Python.
std::vector<size_t> matches_from_right(const std::string& bytes, const std::string& needle,
                                       Int most) {
  std::vector<size_t> at;
  size_t hit = bytes.rfind(needle);
  while (hit != kNone && (most < 0 || Int{at.size()} < most)) {
    at.push_back(hit);
    if (hit < needle.size()) break;
    hit = bytes.rfind(needle, hit - needle.size());
  }
  std::ranges::reverse(at);
  return at;
}

enum class From { kLeft, kRight };

Result<Value> split_from(Heap& heap, const Value& self, const Args& args, From from) {
  const std::string_view name = from == From::kLeft ? "split" : "rsplit";
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind(name, args, {"sep", "maxsplit"}));
  SLUICE_ASSIGN_OR_RETURN(const std::string needle, bound.string(0, ""));
  SLUICE_ASSIGN_OR_RETURN(const Int most, bound.integer(1, -1));
  const std::string& bytes = self.bytes();
  heap.meter().step(bytes.size() / 16);
  std::vector<Range> pieces;
  if (bound[0] == nullptr || bound[0]->is_none()) {
    if (from == From::kLeft) {
      split_spaces(bytes, most, pieces);
    } else {
      rsplit_spaces(bytes, most, pieces);
    }
  } else {
    if (needle.empty()) return invalid(fmt::format("the separator of {}() is empty", name));
    // rfind looks at every place: bound the work of a long needle.
    if (from == From::kRight) heap.meter().step(bytes.size() * needle.size() / 1024);
    SLUICE_RETURN_IF_ERROR(heap.meter().check());
    std::vector<size_t> cuts =
        from == From::kLeft ? matches(bytes, needle) : matches_from_right(bytes, needle, most);
    if (most >= 0 && Int{cuts.size()} > most) cuts.resize(static_cast<size_t>(most));
    size_t begin = 0;
    for (const size_t cut : cuts) {
      pieces.push_back({begin, cut});
      begin = cut + needle.size();
    }
    pieces.push_back({begin, bytes.size()});
  }
  std::vector<Value> parts;
  parts.reserve(pieces.size());
  for (const Range& piece : pieces) {
    parts.push_back(heap.slice(self.text(), piece.begin, piece.end));
    SLUICE_RETURN_IF_ERROR(heap.meter().check());
  }
  return heap.list(std::move(parts));
}

Result<Value> split_left(Heap& heap, const Value& self, const Args& args) {
  return split_from(heap, self, args, From::kLeft);
}
Result<Value> split_right(Heap& heap, const Value& self, const Args& args) {
  return split_from(heap, self, args, From::kRight);
}

Result<Value> split_lines(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("splitlines", args, {"keepends"}));
  const bool keep = bound.flag(0, false);
  heap.meter().step(self.bytes().size() / 16);
  std::vector<Value> lines;
  size_t begin = 0;
  CharReader reader(self.text());
  while (reader.next()) {
    if (!is_line_end(reader.code())) continue;
    const size_t end = reader.begin();
    if (reader.code() == '\r' && reader.end() < self.bytes().size() &&
        self.bytes()[reader.end()] == '\n') {
      reader.next();
    }
    lines.push_back(heap.slice(self.text(), begin, keep ? reader.end() : end));
    SLUICE_RETURN_IF_ERROR(heap.meter().check());
    begin = reader.end();
  }
  if (begin < self.bytes().size()) {
    lines.push_back(heap.slice(self.text(), begin, self.bytes().size()));
  }
  return heap.list(std::move(lines));
}

// startswith and endswith: one affix, or a tuple of them.
Result<Value> has_affix(const Value& self, const Args& args, std::string_view name, bool front) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind(name, args, {"affix"}, 1));
  const std::string_view bytes = self.bytes();
  const auto holds = [&](const Value& affix) {
    return affix.is_string() &&
           (front ? bytes.starts_with(affix.bytes()) : bytes.ends_with(affix.bytes()));
  };
  if (bound[0]->is_list()) return std::ranges::any_of(bound[0]->list().items, holds);
  if (bound[0]->is_undefined()) return invalid(bound[0]->why_undefined());
  if (!bound[0]->is_string()) {
    return invalid(
        fmt::format("{}() takes a string or a tuple of strings, found a value of type "
                    "'{}'",
                    name, bound[0]->type_name()));
  }
  return holds(*bound[0]);
}

Result<Value> starts_with(Heap&, const Value& self, const Args& args) {
  return has_affix(self, args, "startswith", true);
}
Result<Value> ends_with(Heap&, const Value& self, const Args& args) {
  return has_affix(self, args, "endswith", false);
}

Result<Value> without_affix(Heap& heap, const Value& self, const Args& args, std::string_view name,
                            bool front) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind(name, args, {"affix"}, 1));
  SLUICE_ASSIGN_OR_RETURN(const std::string affix, bound.string(0, ""));
  const std::string_view bytes = self.bytes();
  if (front && bytes.starts_with(affix)) return heap.slice(self.text(), affix.size(), bytes.size());
  if (!front && bytes.ends_with(affix)) {
    return heap.slice(self.text(), 0, bytes.size() - affix.size());
  }
  return self;
}

Result<Value> without_prefix(Heap& heap, const Value& self, const Args& args) {
  return without_affix(heap, self, args, "removeprefix", true);
}
Result<Value> without_suffix(Heap& heap, const Value& self, const Args& args) {
  return without_affix(heap, self, args, "removesuffix", false);
}

Result<Value> join(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("join", args, {"iterable"}, 1));
  SLUICE_ASSIGN_OR_RETURN(const auto items, iterate(heap, *bound[0]));
  TextBuilder out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) {
      return invalid(
          fmt::format("join() takes strings, found a value of type '{}'", items[i].type_name()));
    }
    if (i > 0) out.append(self.text());
    out.append(items[i].text());
  }
  return heap.string(std::move(out));
}

// find, rfind, index, rindex, count within the characters [start, end).
struct Window {
  std::string needle;
  size_t begin;
  size_t end;
};

Result<Window> window(Heap& heap, const Value& self, const Args& args, std::string_view name) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind(name, args, {"sub", "start", "end"}, 1));
  if (!bound[0]->is_string()) return invalid(fmt::format("{}() takes a string", name));
  const auto size = Int{count_chars(self.bytes())};
  SLUICE_ASSIGN_OR_RETURN(Int start, bound.integer(1, 0));
  SLUICE_ASSIGN_OR_RETURN(Int end, bound.integer(2, size));
  heap.meter().step(self.bytes().size() / 64);
  const auto offset = [&](Int at) {
    if (at < 0) at = std::max<Int>(at + size, 0);
    return char_offset(self.bytes(), static_cast<size_t>(std::min(at, size)));
  };
  const size_t first = offset(start);
  return Window{bound[0]->bytes(), first, std::max(first, offset(end))};
}

Int chars_before(const Value& self, size_t offset) {
  return Int{count_chars(std::string_view(self.bytes()).substr(0, offset))};
}

Result<Value> find_text(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Window part, window(heap, self, args, "find"));
  const size_t hit =
      find_bytes(std::string_view(self.bytes()).substr(0, part.end), part.needle, part.begin);
  return hit == kNone ? Int{-1} : chars_before(self, hit);
}

Result<Value> rfind_text(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Window part, window(heap, self, args, "rfind"));
  heap.meter().step((part.end - part.begin) * part.needle.size() / 1024);
  SLUICE_RETURN_IF_ERROR(heap.meter().check());
  const auto within = std::string_view(self.bytes()).substr(part.begin, part.end - part.begin);
  const size_t hit = within.rfind(part.needle);
  return hit == kNone ? Int{-1} : chars_before(self, part.begin + hit);
}

Result<Value> index_of_text(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(Value at, find_text(heap, self, args));
  if (at.as_int() < 0) return invalid("index(): the substring is not found");
  return at;
}

Result<Value> rindex_of_text(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(Value at, rfind_text(heap, self, args));
  if (at.as_int() < 0) return invalid("rindex(): the substring is not found");
  return at;
}

Result<Value> count_text(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Window part, window(heap, self, args, "count"));
  const auto within = std::string_view(self.bytes()).substr(part.begin, part.end - part.begin);
  if (part.needle.empty()) return count_chars(within) + 1;
  size_t count = 0;
  for (size_t hit = find_bytes(within, part.needle); hit != kNone;
       hit = find_bytes(within, part.needle, hit + part.needle.size())) {
    ++count;
  }
  return count;
}

Result<Value> format(Heap& heap, const Value& self, const Args& args) {
  return format_braces(heap, self.text(), args);
}

template <bool (*kHolds)(char32_t)>
Result<Value> all_chars(Heap& heap, const Value& self, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("this method", args, {}));
  charge(heap, self);
  CharReader reader(self.text());
  while (reader.next()) {
    if (!kHolds(reader.code())) return false;
  }
  return !self.bytes().empty();
}

bool is_alnum(char32_t c) { return is_word(c) && c != '_'; }

template <bool (*kHolds)(std::string_view)>
Result<Value> text_holds(Heap& heap, const Value& self, const Args& args) {
  SLUICE_RETURN_IF_ERROR(bind("this method", args, {}));
  charge(heap, self);
  return kHolds(self.bytes());
}

Result<Value> replace_text(Heap& heap, const Value& self, const Args& args) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind("replace", args, {"old", "new", "count"}, 2));
  for (size_t i = 0; i < 2; ++i) {
    if (!bound[i]->is_string()) return invalid("replace() takes two strings");
  }
  SLUICE_ASSIGN_OR_RETURN(const Int most, bound.integer(2, -1));
  return replace(heap, self.text(), bound[0]->text(), bound[1]->text(), most);
}

// ljust, rjust, center, zfill.
enum class Pad { kRight, kLeft, kBoth };

Result<Value> pad(Heap& heap, const Value& self, const Args& args, std::string_view name,
                  Pad where) {
  SLUICE_ASSIGN_OR_RETURN(const Bound bound, bind(name, args, {"width", "fillchar"}, 1));
  SLUICE_ASSIGN_OR_RETURN(const Int width, bound.integer(0, 0));
  SLUICE_ASSIGN_OR_RETURN(const std::string filler, bound.string(1, " "));
  if (count_chars(filler) != 1) return invalid(fmt::format("{}() fills with one character", name));
  const Int missing = width - Int{count_chars(self.bytes())};
  if (missing <= 0) return self;
  // Python's center() puts the odd one left where the width is odd.
  const Int left = where == Pad::kLeft    ? missing
                   : where == Pad::kRight ? Int{0}
                                          : missing / 2 + (missing & width & 1);
  const Text fill = bound[1] != nullptr ? bound[1]->text() : Text::of(" ", true);
  const Int most = limits::kMaxTemplateOutput + 1;
  TextBuilder out;
  out.repeat(fill, static_cast<size_t>(std::min(left, most)));
  out.append(self.text());
  out.repeat(fill, static_cast<size_t>(std::min(missing - left, most)));
  return heap.string(std::move(out));
}

Result<Value> pad_right(Heap& heap, const Value& self, const Args& args) {
  return pad(heap, self, args, "ljust", Pad::kRight);
}
Result<Value> pad_left(Heap& heap, const Value& self, const Args& args) {
  return pad(heap, self, args, "rjust", Pad::kLeft);
}
Result<Value> pad_both(Heap& heap, const Value& self, const Args& args) {
  return pad(heap, self, args, "center", Pad::kBoth);
}

constexpr auto kMethods = std::to_array<Named<Method>>({
    {"capitalize", cased<Case::kCapitalize>},
    {"center", pad_both},
    {"count", count_text},
    {"endswith", ends_with},
    {"find", find_text},
    {"format", format},
    {"index", index_of_text},
    {"isalnum", all_chars<is_alnum>},
    {"isalpha", all_chars<is_alpha>},
    {"isdecimal", all_chars<is_decimal>},
    {"isdigit", all_chars<is_decimal>},
    {"islower", text_holds<is_lower_text>},
    {"isnumeric", all_chars<is_decimal>},
    {"isspace", all_chars<is_space>},
    {"isupper", text_holds<is_upper_text>},
    {"join", join},
    {"ljust", pad_right},
    {"lower", cased<Case::kLower>},
    {"lstrip", strip_left},
    {"removeprefix", without_prefix},
    {"removesuffix", without_suffix},
    {"replace", replace_text},
    {"rfind", rfind_text},
    {"rindex", rindex_of_text},
    {"rjust", pad_left},
    {"rsplit", split_right},
    {"rstrip", strip_right},
    {"split", split_left},
    {"splitlines", split_lines},
    {"startswith", starts_with},
    {"strip", strip_both},
    {"title", cased<Case::kTitle>},
    {"upper", cased<Case::kUpper>},
});

}  // namespace

Value replace(Heap& heap, const Text& text, const Text& from, const Text& to, Int most) {
  const std::string& bytes = text.bytes;
  TextBuilder out;
  heap.meter().step(bytes.size() / 16);
  size_t done = 0;
  if (from.bytes.empty()) {
    // Between all characters, as Python does.
    CharReader reader(text);
    for (; most != 0 && !out.overflowed(); most -= most > 0 ? 1 : 0) {
      out.append(to);
      if (!reader.next()) {
        done = bytes.size();
        break;
      }
      out.append(text, reader.begin(), reader.end());
      done = reader.end();
    }
  } else {
    for (; most != 0 && !out.overflowed(); most -= most > 0 ? 1 : 0) {
      const size_t hit = find_bytes(bytes, from.bytes, done);
      if (hit == kNone) break;
      out.append(text, done, hit);
      out.append(to);
      done = hit + from.bytes.size();
    }
  }
  out.append(text, done, bytes.size());
  return heap.string(std::move(out));
}

Method find_string_method(std::string_view name) {
  const auto* it = std::ranges::lower_bound(kMethods, name, {}, &Named<Method>::first);
  return it != kMethods.end() && it->first == name ? it->second : nullptr;
}

}  // namespace sluice::text::jinja
