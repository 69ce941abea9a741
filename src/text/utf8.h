// UTF-8: decoding, validation and repair. Pure functions, callable from any thread.
//
// Ill-formed bytes become one U+FFFD per maximal subpart (The Unicode Standard, section 3.9, table
// 3-7 and "U+FFFD Substitution of Maximal Subparts").
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::text {

inline constexpr char32_t kReplacementChar = 0xFFFD;
inline constexpr std::string_view kReplacementText = "\xEF\xBF\xBD";

struct DecodedChar {
  char32_t code = kReplacementChar;
  size_t length = 1;   // bytes consumed, at least 1
  bool valid = false;  // false: a maximal subpart of an ill-formed sequence, `code` is U+FFFD
  // Only where !valid: the text ends inside a sequence that more bytes could complete.
  bool cut_short = false;
};

// The character at the start of `text`, which must not be empty.
DecodedChar decode_char(std::string_view text);

// The same for text known to be valid: no checks.
inline DecodedChar decode_valid(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xE0) return {((lead & 0x1F) << 6) | (byte(1) & 0x3Fu), 2, true};
  if (lead < 0xF0) {
    return {((lead & 0x0F) << 12) | ((byte(1) & 0x3Fu) << 6) | (byte(2) & 0x3Fu), 3, true};
  }
  return {((lead & 0x07) << 18) | ((byte(1) & 0x3Fu) << 12) | ((byte(2) & 0x3Fu) << 6) |
              (byte(3) & 0x3Fu),
          4, true};
}

// Length of the sequence that a lead byte announces, for valid text.
inline size_t char_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

bool is_valid_utf8(std::string_view text);

// `text` with every ill-formed sequence replaced.
std::string repair_utf8(std::string_view text);

// Appends `code` (a Unicode scalar value).
void append_utf8(std::string& out, char32_t code);

// Moves from `pending` to the result what no further byte can change, repaired; what stays is the
// beginning of a character (at most three bytes).
std::string take_complete(std::string& pending);

}  // namespace sluice::text
