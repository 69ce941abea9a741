#include "text/byte_alphabet.h"

#include "text/utf8.h"

namespace sluice::text {
namespace {

constexpr char32_t kFirstExtra = 0x100;
constexpr size_t kAlphabetEnd = 0x144;

struct Alphabet {
  std::array<char32_t, 256> of_byte{};
  std::array<int16_t, kAlphabetEnd> of_char{};

  Alphabet() {
    of_char.fill(-1);
    char32_t extra = kFirstExtra;
    for (size_t b = 0; b < 256; ++b) {
      const bool printable =
          (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
      of_byte[b] = printable ? static_cast<char32_t>(b) : extra++;
      of_char[of_byte[b]] = static_cast<int16_t>(b);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet table;
  return table;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

const std::array<char32_t, 256>& byte_alphabet() { return alphabet().of_byte; }

std::string to_byte_alphabet(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    append_utf8(out, alphabet().of_byte[static_cast<unsigned char>(byte)]);
  }
  return out;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const DecodedChar c = decode_char(text);
    if (!c.valid || c.code >= kAlphabetEnd || alphabet().of_char[c.code] < 0) return std::nullopt;
    out.push_back(static_cast<char>(alphabet().of_char[c.code]));
    text.remove_prefix(c.length);
  }
  return out;
}

std::optional<uint8_t> parse_byte_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  const int high = hex_digit(piece[3]);
  const int low = hex_digit(piece[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<uint8_t>(high * 16 + low);
}

}  // namespace sluice::text
