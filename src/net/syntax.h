// Character classes and small rules of HTTP's grammar (RFC 9110 section 5.6, RFC 9112), shared by
// the request and the response parser. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::net {

// A byte of a token: method and field names.
bool is_token_char(char c);
bool is_token(std::string_view text);

// A field value without control characters; tab and bytes above 127 pass.
bool is_field_value(std::string_view text);

// Blanks and tabs cut off at both ends.
std::string_view trim_blanks(std::string_view text);

std::string to_lower(std::string_view text);

// The list elements of a field value, in lower case, one call each: empty optional at the end.
std::optional<std::string> next_list_token(std::string_view& list);

// 0 to 15, or -1.
int hex_digit(char c);

// Digits only, no sign, no leading zero, at most 18 of them; empty optional otherwise.
std::optional<uint64_t> parse_decimal(std::string_view text);

// "name: value" without its line end. Nothing when it is malformed (no colon, a blank before it,
// an empty or odd name, a fold, a control character in the value).
struct FieldLine {
  std::string name;  // in lower case
  std::string_view value;
};
std::optional<FieldLine> parse_field_line(std::string_view line);

}  // namespace sluice::net
