// GPT-2's byte alphabet: each byte has a printable character that stands for it in byte-level BPE
// vocabularies. Printable Latin-1 bytes stand for themselves, the other 68 are U+0100 … U+0143 in
// order of value. Pure functions, callable from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::text {

// The character of each byte.
const std::array<char32_t, 256>& byte_alphabet();

std::string to_byte_alphabet(std::string_view bytes);
// Nothing when `text` holds a character outside the alphabet (or is not valid UTF-8).
std::optional<std::string> from_byte_alphabet(std::string_view text);

// The byte that a piece such as "<0x0A>" stands for.
std::optional<uint8_t> parse_byte_piece(std::string_view piece);

}  // namespace sluice::text
