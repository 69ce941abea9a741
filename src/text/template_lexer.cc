#include "text/template_lexer.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <cstdint>

#include "text/template_text.h"
#include "text/utf8.h"

namespace sluice::text::jinja {
namespace {

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out.push_back(source[i]);
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return c == '_' || std::isalpha(static_cast<unsigned char>(c)) != 0 || (c & 0x80) != 0;
}
bool is_name_part(char c) { return is_name_start(c) || is_digit(c); }

constexpr std::array<std::string_view, 26> kOperators = {
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "(",
    ")",  "[",  "]",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) SLUICE_RETURN_IF_ERROR(next_tag());
    add(TokenType::kEnd, {}, here());
    return std::move(tokens_);
  }

 private:
  // Text up to the next tag, and that tag.
  Outcome next_tag();
  Outcome comment(size_t begin);
  Outcome raw(size_t begin, size_t content);
  Outcome inside(TokenType end, std::string_view closing);
  Outcome one_token();
  Outcome string_token(char quote);
  Outcome escape(std::string& out);
  Outcome hex_escape(int digits, std::string& out);
  void number_token();
  bool closes(TokenType end, std::string_view closing);
  Outcome bracket(char symbol, Position at);
  size_t raw_tag(size_t begin, std::string_view name, char* closing_sign) const;

  void add_text(std::string_view text, Position at) {
    if (!text.empty()) add(TokenType::kText, std::string(text), at);
  }
  void add(TokenType type, std::string text, Position at) {
    tokens_.push_back({type, std::move(text), at});
  }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  void skip_space() { at_ = skip_space_from(at_); }
  size_t skip_space_from(size_t at) const;
  std::string_view before_tag(size_t begin, size_t end, char sign, bool strips_line) const;
  // The position of at_. Positions are asked for in ascending order.
  Position here();
  std::unexpected<Status> error(Position at, std::string_view what) {
    return std::unexpected(error_at(at, what));
  }

  std::string source_;
  size_t at_ = 0;
  bool line_starts_ = true;  // nothing but a newline was consumed before at_
  std::string brackets_;     // the closing ones that are awaited
  size_t counted_ = 0;
  Position position_;
  std::vector<Token> tokens_;
};

Position Lexer::here() {
  while (counted_ < at_) {
    if (source_[counted_] == '\n') {
      ++position_.line;
      position_.column = 0;
    }
    size_t length = 0;
    decode(source_, counted_, length);
    counted_ += length;
    ++position_.column;
  }
  return position_;
}

size_t Lexer::skip_space_from(size_t at) const {
  size_t length = 0;
  while (at < source_.size() && is_space(decode(source_, at, length))) at += length;
  return at;
}

// What is printed of the text in front of a tag: "-" takes all space before it, and a block or
// comment that is first on its line takes the indentation.
std::string_view Lexer::before_tag(size_t begin, size_t end, char sign, bool strips_line) const {
  const auto text = std::string_view(source_).substr(begin, end - begin);
  if (sign == '-') return text.substr(0, strip(text, Side::kRight, nullptr).end);
  if (sign == '+' || !strips_line) return text;
  const size_t newline = text.rfind('\n');
  const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
  if (line == 0 && !line_starts_) return text;
  const bool blank = strip(text.substr(line), Side::kRight, nullptr).end == 0;
  return blank ? text.substr(0, line) : text;
}

// Where `{% name %}` that begins at `begin` ends, or npos if it is another tag.
size_t Lexer::raw_tag(size_t begin, std::string_view name, char* closing_sign) const {
  const std::string_view source = source_;
  if (source.substr(begin, 2) != "{%") return std::string_view::npos;
  size_t at = begin + 2;
  if (at < source.size() && (source[at] == '-' || source[at] == '+')) ++at;
  at = skip_space_from(at);
  if (source.substr(at, name.size()) != name) return std::string_view::npos;
  at = skip_space_from(at + name.size());
  *closing_sign = at < source.size() ? source[at] : '\0';
  if (*closing_sign == '-' || *closing_sign == '+') ++at;
  return source.substr(at, 2) == "%}" ? at + 2 : std::string_view::npos;
}

Outcome Lexer::next_tag() {
  const Position start = here();
  const size_t begin = at_;
  size_t tag = begin;
  for (;; ++tag) {
    tag = source_.find('{', tag);
    if (tag == std::string::npos || tag + 1 >= source_.size()) {
      at_ = source_.size();
      add_text(std::string_view(source_).substr(begin), start);
      return {};
    }
    const char kind = source_[tag + 1];
    if (kind == '%' || kind == '{' || kind == '#') break;
  }
  const char kind = source_[tag + 1];
  const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
  const bool signed_tag = sign == '-' || sign == '+';
  add_text(before_tag(begin, tag, sign, kind != '{'), start);

  at_ = tag;
  const Position at = here();
  char closing = '\0';
  if (kind == '%') {
    const size_t content = raw_tag(tag, "raw", &closing);
    if (content != std::string::npos && closing != '+') {
      return raw(tag, closing == '-' ? skip_space_from(content) : content);
    }
  }
  at_ += signed_tag ? 3 : 2;
  if (kind == '#') return comment(tag);
  const bool block = kind == '%';
  add(block ? TokenType::kBlockBegin : TokenType::kPrintBegin, {}, at);
  return inside(block ? TokenType::kBlockEnd : TokenType::kPrintEnd, block ? "%}" : "}}");
}

Outcome Lexer::comment(size_t begin) {
  const size_t end = source_.find("#}", at_);
  if (end == std::string::npos) {
    at_ = begin;
    return error(position_, "this comment has no end: expected '#}'");
  }
  const char sign = end > at_ ? source_[end - 1] : '\0';
  at_ = end + 2;
  if (sign == '-') {
    skip_space();
  } else if (sign != '+' && peek() == '\n') {
    ++at_;
  }
  line_starts_ = source_[at_ - 1] == '\n';
  return {};
}

Outcome Lexer::raw(size_t begin, size_t content) {
  at_ = begin;
  const Position opened = here();
  line_starts_ = source_[content - 1] == '\n';
  at_ = content;
  const Position at = here();
  for (size_t tag = source_.find("{%", content); tag != std::string::npos;
       tag = source_.find("{%", tag + 1)) {
    char closing = '\0';
    const size_t end = raw_tag(tag, "endraw", &closing);
    if (end == std::string::npos) continue;
    add_text(before_tag(content, tag, source_[tag + 2], true), at);
    at_ = end;
    if (closing == '-') {
      skip_space();
    } else if (closing != '+' && peek() == '\n') {
      ++at_;
    }
    line_starts_ = source_[at_ - 1] == '\n';
    return {};
  }
  return error(opened, "this raw block has no end: expected {% endraw %}");
}

bool Lexer::closes(TokenType end, std::string_view closing) {
  if (!brackets_.empty()) return false;
  const char sign = peek();
  const bool block = end == TokenType::kBlockEnd;
  const size_t skipped = sign == '-' || (block && sign == '+') ? 1 : 0;
  if (std::string_view(source_).substr(at_ + skipped, 2) != closing) return false;
  add(end, {}, here());
  at_ += skipped + 2;
  if (skipped == 1 && sign == '-') {
    skip_space();
  } else if (skipped == 0 && block && peek() == '\n') {
    ++at_;
  }
  line_starts_ = source_[at_ - 1] == '\n';
  return true;
}

Outcome Lexer::inside(TokenType end, std::string_view closing) {
  const Position opened = tokens_.back().at;
  for (;;) {
    skip_space();
    if (at_ >= source_.size()) {
      return error(opened, fmt::format("this tag has no end: expected '{}'", closing));
    }
    if (closes(end, closing)) return {};
    SLUICE_RETURN_IF_ERROR(one_token());
  }
}

Outcome Lexer::one_token() {
  const Position at = here();
  const char c = peek();
  if (is_digit(c)) {
    number_token();
    return {};
  }
  if (is_name_start(c)) {
    const size_t begin = at_;
    while (at_ < source_.size() && is_name_part(source_[at_])) ++at_;
    add(TokenType::kName, source_.substr(begin, at_ - begin), at);
    return {};
  }
  if (c == '\'' || c == '"') return string_token(c);
  for (const std::string_view symbol : kOperators) {
    if (std::string_view(source_).substr(at_, symbol.size()) != symbol) continue;
    if (symbol.size() == 1) SLUICE_RETURN_IF_ERROR(bracket(symbol[0], at));
    add(TokenType::kOperator, std::string(symbol), at);
    at_ += symbol.size();
    return {};
  }
  size_t length = 0;
  decode(source_, at_, length);
  return error(at, fmt::format("unexpected character '{}'", source_.substr(at_, length)));
}

Outcome Lexer::bracket(char symbol, Position at) {
  switch (symbol) {
    case '(':
      brackets_.push_back(')');
      return {};
    case '[':
      brackets_.push_back(']');
      return {};
    case '{':
      brackets_.push_back('}');
      return {};
    case ')':
    case ']':
    case '}':
      if (brackets_.empty()) return error(at, fmt::format("unexpected '{}'", symbol));
      if (brackets_.back() != symbol) {
        return error(at, fmt::format("unexpected '{}', expected '{}'", symbol, brackets_.back()));
      }
      brackets_.pop_back();
      return {};
    default:
      return {};
  }
}

void Lexer::number_token() {
  const Position at = here();
  const size_t begin = at_;
  const auto digits = [&] {
    while (is_digit(peek()) || (peek() == '_' && is_digit(peek(1)))) ++at_;
  };
  const char base = static_cast<char>(std::tolower(static_cast<unsigned char>(peek(1))));
  if (peek() == '0' && (base == 'x' || base == 'o' || base == 'b')) {
    at_ += 2;
    while (std::isxdigit(static_cast<unsigned char>(peek())) != 0 || peek() == '_') ++at_;
    add(TokenType::kInteger, source_.substr(begin, at_ - begin), at);
    return;
  }
  digits();
  bool is_float = false;
  // After a dot the digits are an index: x.0.1
  const bool index = !tokens_.empty() && tokens_.back().is(".");
  if (!index && peek() == '.' && is_digit(peek(1))) {
    is_float = true;
    ++at_;
    digits();
  }
  const size_t sign = peek(1) == '+' || peek(1) == '-' ? 2 : 1;
  if (!index && (peek() == 'e' || peek() == 'E') && is_digit(peek(sign))) {
    is_float = true;
    at_ += sign;
    digits();
  }
  add(is_float ? TokenType::kFloat : TokenType::kInteger, source_.substr(begin, at_ - begin), at);
}

Outcome Lexer::string_token(char quote) {
  const Position at = here();
  ++at_;
  std::string text;
  while (at_ < source_.size() && source_[at_] != quote) {
    if (source_[at_] == '\\') {
      SLUICE_RETURN_IF_ERROR(escape(text));
    } else {
      text.push_back(source_[at_++]);
    }
  }
  if (at_ >= source_.size()) {
    return error(at, fmt::format("this string has no end: expected {}", quote));
  }
  ++at_;
  add(TokenType::kString, std::move(text), at);
  return {};
}

// Python's escapes; an unknown one keeps its backslash.
Outcome Lexer::escape(std::string& out) {
  static constexpr std::string_view kFrom = "\\'\"abfnrtv";
  static constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
  const char c = peek(1);
  at_ += 2;
  if (const size_t simple = kFrom.find(c); simple != std::string_view::npos && c != '\0') {
    out.push_back(kTo[simple]);
    return {};
  }
  switch (c) {
    case '\n':
      return {};
    case 'x':
      return hex_escape(2, out);
    case 'u':
      return hex_escape(4, out);
    case 'U':
      return hex_escape(8, out);
    case 'N':
      return error(here(), "named characters (\\N{…}) are not supported; write \\uXXXX");
    default:
      break;
  }
  if (c >= '0' && c <= '7') {
    char32_t code = static_cast<char32_t>(c - '0');
    for (int i = 0; i < 2 && peek() >= '0' && peek() <= '7'; ++i) {
      code = code * 8 + static_cast<char32_t>(source_[at_++] - '0');
    }
    append_utf8(out, code);
    return {};
  }
  out.push_back('\\');
  --at_;
  if (at_ < source_.size()) out.push_back(source_[at_++]);
  return {};
}

Outcome Lexer::hex_escape(int digits, std::string& out) {
  const Position at = here();
  uint64_t code = 0;
  for (int i = 0; i < digits; ++i) {
    const char c = peek();
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) {
      return error(at, fmt::format("this escape needs {} hexadecimal digits", digits));
    }
    const int digit = is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
    code = code * 16 + static_cast<uint64_t>(digit);
    ++at_;
  }
  if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
    return error(at, "this escape names no Unicode character");
  }
  append_utf8(out, static_cast<char32_t>(code));
  return {};
}

}  // namespace

Status error_at(Position at, std::string_view what, Code code) {
  return Status(code, fmt::format("chat template line {} column {}: {}", at.line, at.column, what),
                {}, std::string(kLocated));
}

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace sluice::text::jinja
