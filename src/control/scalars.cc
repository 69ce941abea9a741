#include "control/scalars.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>

namespace sluice::control {
namespace {

bool lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool alphanumeric(char c) { return lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }

bool dns_label(std::string_view text) {
  if (text.empty() || text.size() > 63) return false;
  if (!lower_or_digit(text.front()) || !lower_or_digit(text.back())) return false;
  for (const char c : text) {
    if (!lower_or_digit(c) && c != '-') return false;
  }
  return true;
}

// Letters, digits, '-', '_' and '.', with a letter or digit at both ends.
bool qualified_name(std::string_view text) {
  if (text.empty() || text.size() > 63) return false;
  if (!alphanumeric(text.front()) || !alphanumeric(text.back())) return false;
  for (const char c : text) {
    if (!alphanumeric(c) && c != '-' && c != '_' && c != '.') return false;
  }
  return true;
}

std::optional<double> suffix_factor(std::string_view suffix) {
  struct Row {
    std::string_view suffix;
    double factor;
  };
  static constexpr std::array kRows = {
      Row{"", 1},        Row{"n", 1e-9},    Row{"u", 1e-6},    Row{"m", 1e-3},
      Row{"k", 1e3},     Row{"M", 1e6},     Row{"G", 1e9},     Row{"T", 1e12},
      Row{"P", 1e15},    Row{"E", 1e18},    Row{"Ki", 0x1p10}, Row{"Mi", 0x1p20},
      Row{"Gi", 0x1p30}, Row{"Ti", 0x1p40}, Row{"Pi", 0x1p50}, Row{"Ei", 0x1p60},
  };
  for (const Row& row : kRows) {
    if (row.suffix == suffix) return row.factor;
  }
  return std::nullopt;
}

// Exactly `digits` digits at the front of `rest`, which they leave.
std::optional<int> take_number(std::string_view& rest, size_t digits) {
  if (rest.size() < digits) return std::nullopt;
  int value = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (!digit(rest[i])) return std::nullopt;
    value = value * 10 + (rest[i] - '0');
  }
  rest.remove_prefix(digits);
  return value;
}

bool take(std::string_view& rest, char mark) {
  if (!rest.starts_with(mark)) return false;
  rest.remove_prefix(1);
  return true;
}

// Seconds east of UTC, from "Z", "+02:00" or "-07:30".
std::optional<int> take_offset(std::string_view& rest) {
  if (take(rest, 'Z') || take(rest, 'z')) return 0;
  const bool minus = rest.starts_with('-');
  if (!minus && !rest.starts_with('+')) return std::nullopt;
  rest.remove_prefix(1);
  const auto hours = take_number(rest, 2);
  if (!hours || !take(rest, ':')) return std::nullopt;
  const auto minutes = take_number(rest, 2);
  if (!minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  const int offset = *hours * 3600 + *minutes * 60;
  return minus ? -offset : offset;
}

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string encode(std::string_view bytes, std::string_view alphabet) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    const size_t have = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < have ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (size_t k = 0; k <= have; ++k) out += alphabet[group >> (18 - 6 * k) & 63];
  }
  return out;
}

std::optional<std::string> decode(std::string_view text, std::string_view alphabet) {
  std::string out;
  uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    const size_t value = alphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out += static_cast<char>(bits >> have & 0xFF);
    }
  }
  if (have >= 6) return std::nullopt;
  return out;
}

std::tm utc(double unix_seconds) {
  const auto whole = static_cast<std::time_t>(std::floor(unix_seconds));
  std::tm parts{};
  gmtime_r(&whole, &parts);
  return parts;
}

}  // namespace

std::string name_problem(std::string_view name) {
  if (name.size() > 253) return "must be no more than 253 characters";
  std::string_view rest = name;
  while (true) {
    const size_t dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    if (!dns_label(label)) {
      return "must consist of lower case letters, digits, '-' or '.', and begin and end with a "
             "letter or digit (for example 'my-model.v2')";
    }
    if (dot == std::string_view::npos) return {};
    rest.remove_prefix(dot + 1);
  }
}

std::string label_name_problem(std::string_view name) {
  if (dns_label(name)) return {};
  return "must be at most 63 lower case letters, digits or '-', and begin and end with a letter or "
         "digit (for example 'team-a')";
}

std::string host_name_problem(std::string_view name) {
  if (dns_label(name) && !digit(name.front())) return {};
  return "must be at most 63 lower case letters, digits or '-', begin with a letter and end with a "
         "letter or digit (for example 'my-model')";
}

std::string label_key_problem(std::string_view key) {
  const size_t slash = key.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view prefix = key.substr(0, slash);
    if (prefix.empty() || !name_problem(prefix).empty()) {
      return "the part before '/' must be a DNS name";
    }
    key.remove_prefix(slash + 1);
  }
  if (qualified_name(key)) return {};
  return "must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or "
         "digit";
}

std::string label_value_problem(std::string_view value) {
  if (value.empty() || qualified_name(value)) return {};
  return "must be empty, or 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a "
         "letter or digit";
}

std::optional<double> parse_quantity(std::string_view text) {
  if (text.empty() || text.size() > 64) return std::nullopt;
  const double sign = text.front() == '-' ? -1 : 1;
  if (text.front() == '-' || text.front() == '+') text.remove_prefix(1);
  size_t end = 0;
  while (end < text.size() && (digit(text[end]) || text[end] == '.')) ++end;
  if (end == 0) return std::nullopt;
  // An exponent ("1e3") is part of the number; a lone E is the suffix.
  if (end + 1 < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    size_t at = end + 1;
    if (text[at] == '-' || text[at] == '+') ++at;
    if (at < text.size() && digit(text[at])) end = text.size();
  }
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + end, value);
  if (error != std::errc() || stop != text.data() + end) return std::nullopt;
  const auto factor = suffix_factor(text.substr(end));
  if (!factor) return std::nullopt;
  return sign * value * *factor;
}

std::optional<double> parse_time(std::string_view text) {
  std::tm parts{};
  const auto year = take_number(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_number(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_number(text, 2);
  if (!day || !(take(text, 'T') || take(text, 't'))) return std::nullopt;
  const auto hour = take_number(text, 2);
  if (!hour || !take(text, ':')) return std::nullopt;
  const auto minute = take_number(text, 2);
  if (!minute || !take(text, ':')) return std::nullopt;
  const auto second = take_number(text, 2);
  if (!second) return std::nullopt;
  if (*month < 1 || *month > 12 || *day < 1 || *day > 31 || *hour > 23 || *minute > 59 ||
      *second > 60) {
    return std::nullopt;
  }
  double fraction = 0;
  if (take(text, '.')) {
    double unit = 0.1;
    size_t digits = 0;
    for (; !text.empty() && digit(text.front()); ++digits, unit /= 10) {
      fraction += unit * (text.front() - '0');
      text.remove_prefix(1);
    }
    if (digits == 0) return std::nullopt;
  }
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = *second;
  return static_cast<double>(timegm(&parts)) + fraction - *offset;
}

std::string time_text(double unix_seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", utc(unix_seconds));
}

std::string micro_time_text(double unix_seconds) {
  const double fraction = unix_seconds - std::floor(unix_seconds);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06d}Z", utc(unix_seconds),
                     static_cast<int>(fraction * 1e6));
}

std::string age_text(double seconds) {
  const auto s = static_cast<int64_t>(seconds < 0 ? 0 : seconds);
  const int64_t minutes = s / 60;
  const int64_t hours = s / 3600;
  const int64_t days = hours / 24;
  if (s < 120) return fmt::format("{}s", s);
  if (minutes < 10) {
    return s % 60 == 0 ? fmt::format("{}m", minutes) : fmt::format("{}m{}s", minutes, s % 60);
  }
  if (minutes < 180) return fmt::format("{}m", minutes);
  if (hours < 8) {
    return minutes % 60 == 0 ? fmt::format("{}h", hours)
                             : fmt::format("{}h{}m", hours, minutes % 60);
  }
  if (hours < 48) return fmt::format("{}h", hours);
  if (days < 8) {
    return hours % 24 == 0 ? fmt::format("{}d", days) : fmt::format("{}d{}h", days, hours % 24);
  }
  if (days < 730) return fmt::format("{}d", days);
  return fmt::format("{}y{}d", days / 365, days % 365);
}

std::string printable(std::string_view text, size_t max_bytes) {
  std::string out(text.substr(0, max_bytes));
  for (char& c : out) {
    if (c < 0x20 || c > 0x7E) c = '?';
  }
  return out;
}

std::string base64_encode(std::string_view bytes) {
  std::string out = encode(bytes, kBase64);
  while (out.size() % 4 != 0) out += '=';
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return decode(text, kBase64);
}

std::string base64url_encode(std::string_view bytes) { return encode(bytes, kBase64Url); }

std::optional<std::string> base64url_decode(std::string_view text) {
  return decode(text, kBase64Url);
}

}  // namespace sluice::control
