// Charsmap: SentencePiece's precompiled character map. Immutable; callable from any thread at once.
//
// Layout (little endian): u32 bytes of the trie; the trie, a double array of u32 units as Darts
// writes it; then the replacements, each ended by a zero byte. A unit holds a label in bits 0-7
// (and bit 31 where it is a value), "has a value" in bit 8, an offset in bits 10-30 that bit 9
// scales by 256.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluice::text {

class Charsmap {
 public:
  static Result<Charsmap> parse(std::string_view bytes);

  // Replaces the longest mapped sequence at each place, from left to right; the rest stays.
  std::string apply(std::string_view text) const;
  // As normalize::Precompiled::by_grapheme says.
  std::string apply_by_grapheme(std::string_view text) const;

 private:
  struct Match {
    size_t length = 0;  // 0: none
    size_t replacement = 0;
  };
  // The longest or the shortest key that `text` begins with.
  Match find(std::string_view text, bool shortest) const;
  // Appends what `text` is mapped to; false if it is not.
  bool map(std::string_view text, std::string& out) const;

  std::vector<uint32_t> units_;
  std::string replacements_;  // ends with a zero byte
};

}  // namespace sluice::text
