#include "text/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/limits.h"
#include "text/byte_alphabet.h"
#include "text/utf8.h"

namespace sluice::text {
namespace {

bool is_literal(TokenType type) {
  return type == TokenType::kControl || type == TokenType::kUserDefined ||
         type == TokenType::kUnknown;
}

bool may_be_produced(TokenType type) {
  return type == TokenType::kNormal || type == TokenType::kUserDefined ||
         type == TokenType::kUnused;
}

// The start of a piece, for messages.
std::string shown(std::string_view piece) {
  return repair_utf8(piece.size() <= 40 ? piece : piece.substr(0, 40));
}

std::string replace_space(std::string_view piece, std::string_view space) {
  std::string out;
  for (size_t at = piece.find(space); at != std::string_view::npos; at = piece.find(space)) {
    out += piece.substr(0, at);
    out += ' ';
    piece.remove_prefix(at + space.size());
  }
  return out += piece;
}

Outcome check_id(const std::optional<int32_t>& id, std::string_view name, size_t size) {
  if (!id || (*id >= 0 && static_cast<size_t>(*id) < size)) return {};
  return invalid(
      fmt::format("the tokenizer's {} token has id {}, but there are {} tokens", name, *id, size));
}

Outcome check_shape(const TokenizerSpec& spec) {
  const size_t size = spec.pieces.size();
  if (size == 0) return invalid("the tokenizer has no tokens");
  if (size > limits::kMaxVocabulary) {
    return fail(Code::kTooLarge, fmt::format("the tokenizer has {} tokens; at most {} are read",
                                             size, limits::kMaxVocabulary));
  }
  if (spec.types.size() != size) {
    return invalid(
        fmt::format("the tokenizer has {} tokens but {} token types", size, spec.types.size()));
  }
  const bool needs_scores = spec.kind == TokenizerKind::kUnigram ||
                            (spec.kind == TokenizerKind::kSentencePieceBpe && spec.merges.empty());
  if (needs_scores && spec.scores.size() != size) {
    return invalid(
        fmt::format("the tokenizer has {} tokens but {} scores", size, spec.scores.size()));
  }
  if (!std::ranges::all_of(spec.scores, [](float score) { return std::isfinite(score); })) {
    return invalid("a token's score is not a finite number");
  }
  SLUICE_RETURN_IF_ERROR(check_id(spec.bos, "BOS", size));
  SLUICE_RETURN_IF_ERROR(check_id(spec.eos, "EOS", size));
  SLUICE_RETURN_IF_ERROR(check_id(spec.unk, "unknown", size));
  SLUICE_RETURN_IF_ERROR(check_id(spec.pad, "padding", size));
  for (const auto* ids : {&spec.pipeline->prefix, &spec.pipeline->suffix}) {
    for (const int32_t id : *ids) SLUICE_RETURN_IF_ERROR(check_id(id, "surrounding", size));
  }
  for (const AddedToken& token : spec.pipeline->added) {
    SLUICE_RETURN_IF_ERROR(check_id(token.id, "added", size));
  }
  return {};
}

}  // namespace

Result<Vocabulary> Vocabulary::create(const TokenizerSpec& spec) {
  SLUICE_RETURN_IF_ERROR(check_shape(spec));
  Vocabulary vocabulary;
  SLUICE_RETURN_IF_ERROR(vocabulary.add_pieces(spec));
  SLUICE_RETURN_IF_ERROR(vocabulary.add_bytes(spec));
  return vocabulary;
}

Outcome Vocabulary::add_pieces(const TokenizerSpec& spec) {
  const size_t size = spec.pieces.size();
  const Decoder& decoder = spec.pipeline->decoder;
  types_ = spec.types;
  matches_ = PieceTable(size);
  by_piece_ = PieceTable(size);
  match_.resize(size);
  output_.resize(size);
  owned_.reserve(size);  // no view may move
  const auto own = [&](std::string text) -> std::string_view {
    return owned_.emplace_back(std::move(text));
  };
  for (size_t i = 0; i < size; ++i) {
    const std::string_view piece = spec.pieces[i];
    const TokenType type = types_[i];
    const auto id = static_cast<int32_t>(i);
    if (piece.size() > limits::kMaxTokenBytes) {
      return fail(Code::kTooLarge, fmt::format("token {} has {} bytes; at most {} are read", i,
                                               piece.size(), limits::kMaxTokenBytes));
    }
    if (!is_valid_utf8(piece)) {
      return invalid(fmt::format("token {} is not valid UTF-8", i));
    }
    match_[i] = output_[i] = piece;
    bool reachable = may_be_produced(type) && !piece.empty();
    if (spec.kind == TokenizerKind::kByteBpe && !is_literal(type)) {
      auto bytes = from_byte_alphabet(piece);
      reachable = reachable && bytes;  // else no bytes are spelled like this
      if (bytes) match_[i] = output_[i] = own(*std::move(bytes));
    } else if (!is_literal(type) && decoder.words && piece.starts_with(decoder.continuing_prefix) &&
               !decoder.continuing_prefix.empty()) {
      output_[i] = piece.substr(decoder.continuing_prefix.size());
    } else if (!is_literal(type) && decoder.words && decoder.continuing_prefix.empty() &&
               piece.starts_with(spec.pipeline->word_prefix)) {
      output_[i] = own(" " + std::string(piece.substr(spec.pipeline->word_prefix.size())));
    } else if (!is_literal(type) && decoder.words && !decoder.continuing_prefix.empty()) {
      output_[i] = own(" " + std::string(piece));
    } else if (type != TokenType::kControl && !decoder.space.empty() &&
               piece.find(decoder.space) != std::string_view::npos) {
      output_[i] = own(replace_space(piece, decoder.space));
    }
    by_piece_.insert(piece, id);
    if (!reachable) continue;
    if (!matches_.insert(match_[i], id) && type == TokenType::kNormal) {
      return invalid(fmt::format("tokens {} and {} are spelled the same: \"{}\"",
                                 matches_.find(match_[i]), i, shown(piece)));
    }
  }
  return {};
}

Outcome Vocabulary::add_bytes(const TokenizerSpec& spec) {
  byte_ids_.fill(-1);
  if (spec.kind == TokenizerKind::kByteBpe) {
    for (size_t b = 0; b < 256; ++b) {
      const char byte = static_cast<char>(b);
      byte_ids_[b] = matches_.find(std::string_view(&byte, 1));
      // Bytes that occur in no valid UTF-8 are never looked up.
      const bool occurs = b < 0xC0 || (b > 0xC1 && b < 0xF5);
      if (occurs && byte_ids_[b] < 0 && !spec.unk) {
        return invalid(
            fmt::format("no token stands for the byte 0x{:02X} and there is no unknown "
                        "token; a byte-level vocabulary needs one for each byte",
                        b));
      }
    }
    return {};
  }
  size_t count = 0;
  static const std::array<char, 256> kBytes = [] {
    std::array<char, 256> bytes{};
    for (size_t b = 0; b < 256; ++b) bytes[b] = static_cast<char>(b);
    return bytes;
  }();
  for (size_t i = 0; i < types_.size(); ++i) {
    if (types_[i] != TokenType::kByte) continue;
    const auto byte = parse_byte_piece(spec.pieces[i]);
    if (!byte) {
      return invalid(
          fmt::format("token {} is a byte token spelled \"{}\"; expected <0x00> to <0xFF>", i,
                      shown(spec.pieces[i])));
    }
    if (byte_ids_[*byte] >= 0) continue;
    byte_ids_[*byte] = static_cast<int32_t>(i);
    output_[i] = std::string_view(&kBytes[*byte], 1);
    ++count;
  }
  const size_t spelled = spec.pipeline->byte_fallback ? count : 0;
  if (spelled < 256 && !spec.unk) {
    return invalid(
        fmt::format("{} of the 256 byte tokens <0x00> to <0xFF> can be used and there is no "
                    "unknown token; characters outside the vocabulary could not be encoded",
                    spelled));
  }
  return {};
}

}  // namespace sluice::text
