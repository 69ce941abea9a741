// Vocabulary: the pieces of a checked spec in the forms that the stages need. Immutable; callable
// from any thread at once. Views stay valid as long as it lives.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/flat_table.h"
#include "text/tokenizer_spec.h"

namespace sluice::text {

class Vocabulary {
 public:
  // `spec` must be complete, its `pieces` must outlive the vocabulary. Refuses what no tokenizer
  // can mean: numbers of types or scores that differ from that of the pieces, pieces that are not
  // UTF-8 or longer than limits::kMaxTokenBytes, two normal pieces with the same spelling, byte
  // tokens that are not all there where there is no unknown token, special ids out of range.
  static Result<Vocabulary> create(const TokenizerSpec& spec);

  int32_t size() const { return static_cast<int32_t>(types_.size()); }
  bool contains(int32_t id) const { return id >= 0 && id < size(); }
  TokenType type(int32_t id) const { return types_[static_cast<size_t>(id)]; }

  // What the model compares with its input; byte-level pieces as plain bytes.
  std::string_view match_text(int32_t id) const { return match_[static_cast<size_t>(id)]; }
  // What the token stands for in running text.
  std::string_view output(int32_t id) const { return output_[static_cast<size_t>(id)]; }

  // The piece that the model may produce for `text`; never a control, unknown or byte token. -1:
  // none.
  int32_t find_match(std::string_view text) const { return matches_.find(text); }
  // Any token by its spelling. -1: none.
  int32_t find_piece(std::string_view piece) const { return by_piece_.find(piece); }

  // The token of a byte (byte-level: the one-byte piece; else the "<0xNN>" token). -1: none.
  int32_t byte_id(uint8_t byte) const { return byte_ids_[byte]; }
  // Whether every byte of `text` has a token. (Gemma's vocabulary has none for the tab.)
  bool can_spell(std::string_view text) const {
    return std::ranges::all_of(text, [&](char c) { return byte_id(static_cast<uint8_t>(c)) >= 0; });
  }

 private:
  Outcome add_pieces(const TokenizerSpec& spec);
  Outcome add_bytes(const TokenizerSpec& spec);

  std::vector<TokenType> types_;
  std::vector<std::string_view> match_, output_;
  std::vector<std::string> owned_;  // storage of views that are not spec.pieces themselves
  PieceTable matches_, by_piece_;
  std::array<int32_t, 256> byte_ids_{};
};

}  // namespace sluice::text
