#include "text/charsmap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "text/unicode.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

constexpr uint32_t kHasValue = 1u << 8;
constexpr uint32_t kLabelMask = (1u << 31) | 0xFF;

uint32_t unit_offset(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

}  // namespace

Result<Charsmap> Charsmap::parse(std::string_view bytes) {
  uint32_t trie_bytes = 0;
  if (bytes.size() < sizeof trie_bytes) {
    return invalid("the precompiled character map is shorter than its 4-byte header");
  }
  std::memcpy(&trie_bytes, bytes.data(), sizeof trie_bytes);
  bytes.remove_prefix(sizeof trie_bytes);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes >= bytes.size()) {
    return invalid(fmt::format(
        "the precompiled character map says its trie has {} bytes; expected a multiple of 4 "
        "below the {} that follow",
        trie_bytes, bytes.size()));
  }
  if (bytes.back() != '\0') {
    return invalid("the precompiled character map does not end with a zero byte");
  }
  Charsmap map;
  map.units_.resize(trie_bytes / 4);
  std::memcpy(map.units_.data(), bytes.data(), trie_bytes);
  map.replacements_ = std::string(bytes.substr(trie_bytes));
  return map;
}

Charsmap::Match Charsmap::find(std::string_view text, bool shortest) const {
  Match match;
  size_t node = unit_offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (node >= units_.size() || (units_[node] & kLabelMask) != byte) break;
    const uint32_t unit = units_[node];
    node ^= unit_offset(unit);
    if (node >= units_.size()) break;
    if (unit & kHasValue) {
      const size_t value = units_[node] & 0x7FFFFFFF;
      if (value < replacements_.size()) match = {i + 1, value};
      if (shortest) break;
    }
  }
  return match;
}

std::string Charsmap::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Match match = find(text, /*shortest=*/false);
    if (match.length > 0) {
      out += replacements_.c_str() + match.replacement;
      text.remove_prefix(match.length);
    } else {
      const size_t length = std::min(char_length(text[0]), text.size());
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  // A foreign map may cut characters apart.
  return is_valid_utf8(out) ? out : repair_utf8(out);
}

bool Charsmap::map(std::string_view text, std::string& out) const {
  const Match match = find(text, /*shortest=*/true);
  if (match.length > 0) out += replacements_.c_str() + match.replacement;
  return match.length > 0;
}

std::string Charsmap::apply_by_grapheme(std::string_view text) const {
  constexpr size_t kWholeBytes = 5;
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    std::string_view grapheme = text.substr(0, grapheme_length(text));
    text.remove_prefix(grapheme.size());
    if (grapheme.size() <= kWholeBytes && map(grapheme, out)) continue;
    while (!grapheme.empty()) {
      const std::string_view c = grapheme.substr(0, char_length(grapheme[0]));
      if (!map(c, out)) out += c;
      grapheme.remove_prefix(c.size());
    }
  }
  return is_valid_utf8(out) ? out : repair_utf8(out);
}

}  // namespace sluice::text
