#include "text/utf8.h"

#include <cstdint>
#include <cstring>

namespace sluice::text {
namespace {

// Bytes at the start of `text` that are ASCII, counted eight at a time.
size_t ascii_prefix(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

}  // namespace

DecodedChar decode_char(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1, true, false};
  size_t length = 0;
  char32_t code = 0;
  unsigned char low = 0x80;  // bounds of the second byte
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
    code = lead & 0x1Fu;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    code = lead & 0x0Fu;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    code = lead & 0x07u;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {};
  }
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size()) return {kReplacementChar, i, false, true};
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < low || byte > high) return {kReplacementChar, i, false, false};
    code = (code << 6) | (byte & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return {code, length, true, false};
}

bool is_valid_utf8(std::string_view text) {
  while (true) {
    text.remove_prefix(ascii_prefix(text));
    if (text.empty()) return true;
    const DecodedChar c = decode_char(text);
    if (!c.valid) return false;
    text.remove_prefix(c.length);
  }
}

std::string repair_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  while (!text.empty()) {
    const size_t ascii = ascii_prefix(text);
    out.append(text.substr(0, ascii));
    text.remove_prefix(ascii);
    if (text.empty()) break;
    const DecodedChar c = decode_char(text);
    out.append(c.valid ? text.substr(0, c.length) : kReplacementText);
    text.remove_prefix(c.length);
  }
  return out;
}

void append_utf8(std::string& out, char32_t code) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

std::string take_complete(std::string& pending) {
  // Only the last three bytes can belong to an unfinished character.
  size_t keep = 0;
  for (size_t back = 1; back <= 3 && back <= pending.size(); ++back) {
    const auto byte = static_cast<unsigned char>(pending[pending.size() - back]);
    if (byte < 0x80) break;
    if (byte < 0xC0) continue;
    const DecodedChar c = decode_char(std::string_view(pending).substr(pending.size() - back));
    if (c.cut_short && c.length == back) keep = back;
    break;
  }
  const std::string_view ready = std::string_view(pending).substr(0, pending.size() - keep);
  std::string out = is_valid_utf8(ready) ? std::string(ready) : repair_utf8(ready);
  pending.erase(0, ready.size());
  return out;
}

}  // namespace sluice::text
