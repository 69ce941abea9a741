// "%…" % values and "{…}".format(…): the strings that hold the fields of template_format.h.

#include <fmt/format.h>

#include <algorithm>

#include "text/template_builtins.h"
#include "text/template_format.h"
#include "text/utf8.h"

namespace sluice::text::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;

// The values of a % expression, taken in order or by name.
class Source {
 public:
  explicit Source(const Value& values) : values_(values) {}

  Result<Value> next() {
    if (values_.is_list() && values_.list().shape != Shape::kList) {
      if (used_ < values_.list().items.size()) return values_.list().items[used_++];
    } else if (used_++ == 0) {
      return values_;
    }
    return invalid("there are fewer values than fields in the format");
  }

  Result<Value> named(std::string_view name) {
    named_ = true;
    if (!values_.is_dict()) return invalid("named fields in a format need a dict");
    if (const Value* value = values_.dict().find(name)) return *value;
    return invalid(fmt::format("the dict has no '{}' for the format", name));
  }

  Outcome finish() const {
    const bool tuple = values_.is_list() && values_.list().shape != Shape::kList;
    const size_t given = tuple ? values_.list().items.size() : 1;
    if (named_ || used_ >= given || values_.is_dict() || values_.is_list() != tuple) return {};
    return invalid("there are more values than fields in the format");
  }

 private:
  const Value& values_;
  size_t used_ = 0;
  bool named_ = false;
};

class Percent {
 public:
  Percent(Heap& heap, const Text& format, const Value& values)
      : heap_(heap), format_(format), source_(values) {}

  Outcome run(TextBuilder& out) {
    const std::string_view text = format_.bytes;
    while (at_ < text.size() && !out.overflowed()) {
      const size_t percent = std::min(text.find('%', at_), text.size());
      out.append(format_, at_, percent);
      at_ = percent + 1;
      if (percent < text.size()) SLUICE_RETURN_IF_ERROR(field(text, out));
    }
    return source_.finish();
  }

 private:
  Outcome field(std::string_view text, TextBuilder& out) {
    FormatSpec spec;
    Value value;
    bool has_value = false;
    if (text.substr(at_).starts_with('(')) {
      const size_t end = text.find(')', at_);
      if (end == kNone) return invalid("a named field in a format has no ')'");
      SLUICE_ASSIGN_OR_RETURN(value, source_.named(text.substr(at_ + 1, end - at_ - 1)));
      has_value = true;
      at_ = end + 1;
    }
    flags(text, spec);
    SLUICE_RETURN_IF_ERROR(sizes(text, spec));
    while (at_ < text.size() && std::string_view("hlL").contains(text[at_])) ++at_;
    if (at_ >= text.size()) return invalid("a format ends within a field");
    spec.type = text[at_++];
    if (spec.type == '%') {
      out.append("%", true);
      return {};
    }
    if (!has_value) {
      SLUICE_ASSIGN_OR_RETURN(value, source_.next());
    }
    return emit(std::move(value), spec, out);
  }

  void flags(std::string_view text, FormatSpec& spec) {
    for (; at_ < text.size(); ++at_) {
      const char c = text[at_];
      if (c == '-') {
        spec.align = '<';
        spec.fill = ' ';
      } else if (c == '0' && spec.align == 0) {
        spec.align = '=';
        spec.fill = '0';
      } else if (c == '+' || (c == ' ' && spec.sign == '-')) {
        spec.sign = c;
      } else if (c == '#') {
        spec.alternate = true;
      } else if (c != '0' && c != ' ') {
        return;
      }
    }
  }

  // A width or a precision: digits, or * for the next value.
  Result<size_t> size(std::string_view text) {
    if (at_ >= text.size() || text[at_] != '*') return read_width(text, at_);
    ++at_;
    SLUICE_ASSIGN_OR_RETURN(const Value value, source_.next());
    if (!value.is_int() || value.as_int() < 0 || value.as_int() > 1'000'000) {
      return invalid("'*' in a format needs an integer between 0 and 1000000");
    }
    return static_cast<size_t>(value.as_int());
  }

  Outcome sizes(std::string_view text, FormatSpec& spec) {
    SLUICE_ASSIGN_OR_RETURN(spec.width, size(text));
    if (at_ >= text.size() || text[at_] != '.') return {};
    ++at_;
    SLUICE_ASSIGN_OR_RETURN(const size_t precision, size(text));
    spec.precision = static_cast<int>(std::min<size_t>(precision, 1'000'000));
    return {};
  }

  // %c: a character, or the one of a code point.
  Result<Value> one_character(const Value& value) {
    if (value.is_string() && count_chars(value.bytes()) == 1) return value;
    if (!value.is_int() || value.as_int() < 0 || value.as_int() > 0x10FFFF ||
        (value.as_int() >= 0xD800 && value.as_int() <= 0xDFFF)) {
      return invalid("'%c' in a format needs a character or the number of one");
    }
    std::string text;
    append_utf8(text, static_cast<char32_t>(value.as_int()));
    return heap_.string(text, value.trusted());
  }

  Outcome emit(Value value, FormatSpec spec, TextBuilder& out) {
    switch (spec.type) {
      case 's':
        break;
      case 'r':
      case 'a':
        value = heap_.string(repr(value), value.trusted());
        spec.type = 's';
        break;
      case 'c': {
        SLUICE_ASSIGN_OR_RETURN(value, one_character(value));
        spec.type = 's';
        break;
      }
      case 'i':
      case 'u':
        spec.type = 'd';
        [[fallthrough]];
      case 'd':
        // Python cuts a float here.
        if (value.is_number() && !value.is_int()) {
          SLUICE_ASSIGN_OR_RETURN(value, find_filter("int")(heap_, value, {}));
        }
        break;
      case 'o':
      case 'x':
      case 'X':
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        break;
      default:
        return invalid(fmt::format("a format has no field type '{}'", spec.type));
    }
    return format_field(value, spec, '>', out);
  }

  Heap& heap_;
  const Text& format_;
  Source source_;
  size_t at_ = 0;
};

// A format specification of str.format.
Result<FormatSpec> parse_spec(std::string_view text) {
  FormatSpec spec;
  size_t at = 0;
  const auto is_align = [&](size_t i) {
    return i < text.size() && std::string_view("<>^=").contains(text[i]);
  };
  size_t length = 0;
  const char32_t first = text.empty() ? 0 : decode(text, 0, length);
  if (is_align(length)) {
    spec.fill = first;
    spec.align = text[length];
    at = length + 1;
  } else if (is_align(0)) {
    spec.align = text[0];
    at = 1;
  }
  const auto skip = [&](char c) {
    const bool found = at < text.size() && text[at] == c;
    if (found) ++at;
    return found;
  };
  if (skip('+')) {
    spec.sign = '+';
  } else if (skip(' ')) {
    spec.sign = ' ';
  } else {
    skip('-');
  }
  spec.alternate = skip('#');
  if (skip('0') && spec.align == 0) {
    spec.align = '=';
    spec.fill = '0';
  }
  SLUICE_ASSIGN_OR_RETURN(spec.width, read_width(text, at));
  if (skip(',')) {
    spec.group = ',';
  } else if (skip('_')) {
    spec.group = '_';
  }
  if (skip('.')) {
    SLUICE_ASSIGN_OR_RETURN(const size_t precision, read_width(text, at));
    spec.precision = static_cast<int>(precision);
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size() ||
      (spec.type != 0 && !std::string_view("sdbonxXeEfFgG%").contains(spec.type))) {
    return invalid(fmt::format("'{}' is no format specification", text));
  }
  return spec;
}

class Braces {
 public:
  Braces(Heap& heap, const Text& format, const Args& args)
      : heap_(heap), format_(format), args_(args) {}

  Outcome run(TextBuilder& out) {
    const std::string_view text = format_.bytes;
    while (at_ < text.size() && !out.overflowed()) {
      const size_t brace = std::min(text.find_first_of("{}", at_), text.size());
      out.append(format_, at_, brace);
      at_ = brace;
      if (brace == text.size()) break;
      if (brace + 1 < text.size() && text[brace + 1] == text[brace]) {
        out.append(format_, brace, brace + 1);
        at_ += 2;
      } else if (text[brace] == '}') {
        return invalid("a single '}' in a format");
      } else {
        SLUICE_RETURN_IF_ERROR(field(text, out));
      }
    }
    return {};
  }

 private:
  Outcome field(std::string_view text, TextBuilder& out) {
    const size_t end = text.find('}', at_);
    if (end == kNone) return invalid("a field in a format has no '}'");
    std::string_view inner = text.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    if (inner.contains('{')) return invalid("nested fields in formats are not supported");
    std::string_view spec_text;
    if (const size_t colon = inner.find(':'); colon != kNone) {
      spec_text = inner.substr(colon + 1);
      inner = inner.substr(0, colon);
    }
    char conversion = 's';
    if (const size_t mark = inner.find('!'); mark != kNone) {
      conversion = mark + 1 < inner.size() ? inner[mark + 1] : 0;
      inner = inner.substr(0, mark);
      if (conversion != 's' && conversion != 'r') {
        return invalid("a field of a format converts with !s or !r");
      }
    }
    SLUICE_ASSIGN_OR_RETURN(Value value, value_of(inner));
    if (conversion == 'r') value = heap_.string(repr(value), value.trusted());
    SLUICE_ASSIGN_OR_RETURN(const FormatSpec spec, parse_spec(spec_text));
    return format_field(value, spec, '<', out);
  }

  // "name", "0", "", each with .attributes and [items] behind it.
  Result<Value> value_of(std::string_view path) {
    const size_t end = std::min(path.find_first_of(".["), path.size());
    SLUICE_ASSIGN_OR_RETURN(Value value, argument(path.substr(0, end)));
    path.remove_prefix(end);
    while (!path.empty()) {
      const bool item = path[0] == '[';
      const size_t stop =
          item ? path.find(']') : std::min(path.find_first_of(".[", 1), path.size());
      if (stop == kNone) return invalid("a field in a format has no ']'");
      const std::string_view name = path.substr(1, stop - 1);
      const bool number =
          !name.empty() && name.size() < 10 && name.find_first_not_of("0123456789") == kNone;
      if (item && number) {
        size_t at = 0;
        SLUICE_ASSIGN_OR_RETURN(const size_t index, read_width(name, at));
        SLUICE_ASSIGN_OR_RETURN(value, get_item(heap_, value, index));
      } else if (item) {
        SLUICE_ASSIGN_OR_RETURN(value, get_item(heap_, value, heap_.string(name, true)));
      } else {
        SLUICE_ASSIGN_OR_RETURN(value, get_attribute(heap_, value, name));
      }
      path.remove_prefix(item ? stop + 1 : stop);
    }
    return value;
  }

  Result<Value> argument(std::string_view name) {
    size_t index = next_;
    size_t at = 0;
    if (name.empty()) {
      ++next_;
    } else if (name[0] >= '0' && name[0] <= '9') {
      SLUICE_ASSIGN_OR_RETURN(index, read_width(name, at));
    } else {
      for (const auto& [key, value] : args_.named) {
        if (key == name) return value;
      }
      return invalid(fmt::format("format() is not given '{}'", name));
    }
    if (index < args_.positional.size()) return args_.positional[index];
    return invalid("format() is given fewer values than fields");
  }

  Heap& heap_;
  const Text& format_;
  const Args& args_;
  size_t at_ = 0;
  size_t next_ = 0;
};

}  // namespace

Result<Value> format_percent(Heap& heap, const Text& format, const Value& values) {
  TextBuilder out;
  SLUICE_RETURN_IF_ERROR(Percent(heap, format, values).run(out));
  return heap.string(std::move(out));
}

Result<Value> format_braces(Heap& heap, const Text& format, const Args& args) {
  TextBuilder out;
  SLUICE_RETURN_IF_ERROR(Braces(heap, format, args).run(out));
  return heap.string(std::move(out));
}

}  // namespace sluice::text::jinja
