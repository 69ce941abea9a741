#include "text/template_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/limits.h"
#include "text/utf8.h"

namespace sluice::text::jinja {
namespace {

constexpr size_t kMaxPrecision = 400;

struct Digits {
  std::string sign;  // and prefix
  std::string body;
};

std::string sign_of(bool minus, const FormatSpec& spec) {
  if (minus) return "-";
  return spec.sign == '-' ? std::string() : std::string(1, spec.sign);
}

std::string in_base(unsigned __int128 value, unsigned base, bool upper) {
  const char* digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  do {
    out.push_back(digits[static_cast<size_t>(value % base)]);
    value /= base;
  } while (value > 0);
  std::ranges::reverse(out);
  return out;
}

Digits int_digits(Int value, const FormatSpec& spec) {
  const bool minus = value < 0;
  const auto size =
      minus ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  Digits digits{sign_of(minus, spec), {}};
  switch (spec.type) {
    case 'x':
    case 'X':
      digits.body = in_base(size, 16, spec.type == 'X');
      break;
    case 'o':
      digits.body = in_base(size, 8, false);
      break;
    case 'b':
      digits.body = in_base(size, 2, false);
      break;
    default:
      digits.body = in_base(size, 10, false);
      return digits;
  }
  if (spec.alternate) digits.sign += fmt::format("0{}", spec.type);
  return digits;
}

Digits float_digits(double value, const FormatSpec& spec) {
  Digits digits{sign_of(std::signbit(value), spec), {}};
  const double size = std::abs(value);
  const bool upper = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  if (!std::isfinite(size)) {
    digits.body = std::isnan(size) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
    if (spec.type == '%') digits.body.push_back('%');
    return digits;
  }
  switch (spec.type) {
    case 'f':
    case 'F':
      digits.body = fmt::format("{:.{}f}", size, precision);
      break;
    case 'e':
      digits.body = fmt::format("{:.{}e}", size, precision);
      break;
    case 'E':
      digits.body = fmt::format("{:.{}E}", size, precision);
      break;
    case '%':
      digits.body = fmt::format("{:.{}f}%", size * 100, precision);
      break;
    case 'G':
      digits.body = fmt::format("{:.{}G}", size, std::max(precision, 1));
      break;
    case 0:
      if (spec.precision < 0) {
        digits.body = format_float(size);
        break;
      }
      [[fallthrough]];
    default:
      digits.body = fmt::format("{:.{}g}", size, std::max(precision, 1));
      if (spec.type == 0 && digits.body.find_first_of(".en") == std::string::npos) {
        digits.body += ".0";
      }
  }
  return digits;
}

void group_thousands(std::string& body, char mark) {
  size_t end = body.find_first_not_of("0123456789");
  if (end == std::string::npos) end = body.size();
  for (size_t at = end; at > 3; at -= 3) body.insert(at - 3, 1, mark);
}

void pad(size_t count, char32_t fill, TextBuilder& out) {
  std::string unit;
  append_utf8(unit, fill);
  if (count > limits::kMaxTemplateOutput) count = limits::kMaxTemplateOutput + 1;
  out.repeat(Text::of(unit, true), count);
}

Outcome format_number(const Value& value, FormatSpec spec, TextBuilder& out) {
  const bool integral =
      spec.type == 0 ? value.is_int() : std::string_view("dixXobnuc").contains(spec.type);
  if (integral && !value.is_int()) {
    return invalid(fmt::format("the format '{}' needs an integer", spec.type));
  }
  if (spec.type == 'n') spec.type = value.is_int() ? 'd' : 'g';
  Digits digits =
      integral ? int_digits(value.as_int(), spec) : float_digits(value.as_double(), spec);
  if (integral && spec.precision > static_cast<int>(digits.body.size())) {
    digits.body.insert(0, static_cast<size_t>(spec.precision) - digits.body.size(), '0');
  }
  if (spec.group != 0) group_thousands(digits.body, spec.group);
  const bool trusted = value.trusted();
  const size_t used = digits.sign.size() + digits.body.size();
  const size_t missing = spec.width > used ? spec.width - used : 0;
  const char align = spec.align == 0 ? '>' : spec.align;
  const size_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  pad(left, spec.fill, out);
  out.append(digits.sign, trusted);
  if (align == '=') pad(missing, spec.fill, out);
  out.append(digits.body, trusted);
  if (align != '=') pad(missing - left, spec.fill, out);
  return {};
}

}  // namespace

Result<size_t> read_width(std::string_view text, size_t& at) {
  size_t value = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    value = value * 10 + static_cast<size_t>(text[at] - '0');
    if (value > limits::kMaxTemplateOutput) {
      return fail(Code::kTooLarge, fmt::format("a formatted field is wider than {} characters",
                                               limits::kMaxTemplateOutput));
    }
  }
  return value;
}

Outcome format_field(const Value& value, const FormatSpec& spec, char text_align,
                     TextBuilder& out) {
  if (spec.precision > static_cast<int>(kMaxPrecision)) {
    return invalid(fmt::format("a format's precision is at most {}", kMaxPrecision));
  }
  const bool textual = spec.type == 's' || (spec.type == 0 && !value.is_number());
  if (!textual) {
    if (value.is_undefined()) return invalid(value.why_undefined());
    if (!value.is_number()) {
      return invalid(fmt::format("the format '{}' needs a number, found a value of type '{}'",
                                 spec.type, value.type_name()));
    }
    return format_number(value, spec, out);
  }
  TextBuilder text;
  print(value, text);
  const std::string& bytes = text.text().bytes;
  const size_t end =
      spec.precision < 0 ? bytes.size() : char_offset(bytes, static_cast<size_t>(spec.precision));
  const size_t used = count_chars(std::string_view(bytes).substr(0, end));
  const size_t missing = spec.width > used ? spec.width - used : 0;
  const char align = spec.align == 0 || spec.align == '=' ? text_align : spec.align;
  const size_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  pad(left, spec.fill, out);
  out.append(text.text(), 0, end);
  pad(missing - left, spec.fill, out);
  return {};
}

}  // namespace sluice::text::jinja
