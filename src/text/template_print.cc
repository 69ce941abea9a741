// str() and repr() of template values (template_value.h).

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/limits.h"
#include "text/template_value.h"

namespace sluice::text::jinja {
namespace {

bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= 0x20;
  return c > 0xA0 && c != 0xAD && !is_space(c);
}

void escape_char(char32_t c, std::string& out) {
  if (c < 0x100) {
    fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<uint32_t>(c));
  } else if (c < 0x10000) {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<uint32_t>(c));
  } else {
    fmt::format_to(std::back_inserter(out), "\\U{:08x}", static_cast<uint32_t>(c));
  }
}

void repr_string(std::string_view bytes, std::string& out) {
  const bool doubled = bytes.contains('\'') && !bytes.contains('"');
  const char quote = doubled ? '"' : '\'';
  out.push_back(quote);
  for (size_t at = 0, length = 0; at < bytes.size(); at += length) {
    const char32_t c = decode(bytes, at, length);
    if (c == '\\' || c == static_cast<char32_t>(quote)) {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c == '\n') {
      out.append("\\n");
    } else if (c == '\r') {
      out.append("\\r");
    } else if (c == '\t') {
      out.append("\\t");
    } else if (is_printable(c)) {
      out.append(bytes.substr(at, length));
    } else {
      escape_char(c, out);
    }
  }
  out.push_back(quote);
}

void repr_list(const List& list, std::string& out) {
  const bool tuple = list.shape != Shape::kList;
  out.push_back(tuple ? '(' : '[');
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.append(", ");
    print_repr(list.items[i], out);
  }
  if (tuple && list.items.size() == 1) out.push_back(',');
  out.push_back(tuple ? ')' : ']');
}

void repr_dict(const Dict& dict, std::string& out) {
  out.push_back('{');
  for (size_t i = 0; i < dict.entries.size(); ++i) {
    if (i > 0) out.append(", ");
    print_repr(dict.entries[i].first, out);
    out.append(": ");
    print_repr(dict.entries[i].second, out);
  }
  out.push_back('}');
}

}  // namespace

std::string format_int(Int value) { return fmt::format("{}", value); }

// Python's repr: the shortest digits that read back as the same number, with an exponent below 1e-4
// and from 1e16 on.
std::string format_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto [end, ec] =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  int exponent = 0;
  const char* digits = text.data() + e + (text[e + 1] == '+' ? 2 : 1);
  std::from_chars(digits, end, exponent);
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}e{}{:02}", text.substr(0, e), exponent < 0 ? '-' : '+',
                       std::abs(exponent));
  }
  const auto fixed =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed);
  std::string out(buffer, fixed.ptr);
  if (!out.contains('.')) out.append(".0");
  return out;
}

void print_repr(const Value& value, std::string& out) {
  if (out.size() > limits::kMaxTemplateOutput) return;  // refused by whoever makes a string of it
  switch (value.kind()) {
    case Kind::kUndefined:
      out.append("Undefined");
      return;
    case Kind::kNone:
      out.append("None");
      return;
    case Kind::kBool:
      out.append(value.as_bool() ? "True" : "False");
      return;
    case Kind::kInt:
      out.append(format_int(value.as_int()));
      return;
    case Kind::kFloat:
      out.append(format_float(value.as_double()));
      return;
    case Kind::kString:
      repr_string(value.bytes(), out);
      return;
    case Kind::kList:
      repr_list(value.list(), out);
      return;
    case Kind::kDict:
      repr_dict(value.dict(), out);
      return;
    case Kind::kObject:
      fmt::format_to(std::back_inserter(out), "<{}>", value.type_name());
      return;
  }
}

std::string repr(const Value& value) {
  std::string out;
  print_repr(value, out);
  return out;
}

void print(const Value& value, TextBuilder& out) {
  if (value.is_string()) {
    out.append(value.text());
  } else if (!value.is_undefined()) {
    out.append(repr(value), value.trusted());
  }
}

}  // namespace sluice::text::jinja
