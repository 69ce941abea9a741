// Splits a chat template into tokens, with Jinja's whitespace rules as Transformers sets them:
// trim_blocks and lstrip_blocks on, the last newline of the source dropped, "\r\n" and "\r" read as
// "\n".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluice::text::jinja {

struct Position {
  uint32_t line = 1;    // from 1
  uint32_t column = 1;  // from 1, in characters
};

enum class TokenType : uint8_t {
  kText,        // outside tags; `text` is what is printed
  kBlockBegin,  // {%
  kBlockEnd,
  kPrintBegin,  // {{
  kPrintEnd,
  kName,
  kInteger,
  kFloat,
  kString,    // `text` has the escapes resolved
  kOperator,  // `text` is the symbol
  kEnd,
};

struct Token {
  TokenType type;
  std::string text;
  Position at;

  bool is(std::string_view symbol) const { return type == TokenType::kOperator && text == symbol; }
  bool is_name(std::string_view name) const { return type == TokenType::kName && text == name; }
};

// "chat template line L column C: what", as every error of the language reads. Its reason is
// kLocated, so that outer places do not add their own.
Status error_at(Position at, std::string_view what, Code code = Code::kInvalidArgument);
inline constexpr std::string_view kLocated = "chat_template";

// The tokens, the last of them kEnd.
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace sluice::text::jinja
