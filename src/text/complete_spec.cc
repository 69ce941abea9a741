// complete_spec: the pipelines of GGUF files and SentencePiece models, which name theirs only.
#include <fmt/format.h>

#include <algorithm>

#include "text/chat_markers.h"
#include "text/pre_patterns.h"
#include "text/tokenizer_spec.h"

namespace sluice::text {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";

Outcome fill_byte_bpe(const TokenizerSpec& spec, Pipeline& pipeline) {
  const auto known = find_pre_pattern(spec.pre.empty() ? "default" : std::string_view(spec.pre));
  if (!known) {
    return fail(Code::kUnimplemented,
                fmt::format("the pre-tokenizer \"{}\" is not known; known are: {}",
                            spec.pre.substr(0, 80), known_pre_patterns()));
  }
  if (known->nfc) pipeline.normalizers.emplace_back(normalize::Unicode{});
  for (const std::string_view pattern : known->patterns) {
    pipeline.pre_tokenizers.emplace_back(pretokenize::Split{.pattern = std::string(pattern)});
  }
  pipeline.pre_tokenizers.emplace_back(pretokenize::ByteLevel{.use_regex = false});
  pipeline.ignore_merges = known->ignore_merges;
  pipeline.decoder.byte_level = true;
  return {};
}

void fill_sentence_piece(const TokenizerSpec& spec, Pipeline& pipeline) {
  if (!spec.precompiled_charsmap.empty()) {
    pipeline.normalizers.emplace_back(
        normalize::Precompiled{.charsmap = spec.precompiled_charsmap});
  }
  pipeline.normalizers.emplace_back(normalize::Spaces{.collapse = spec.remove_extra_whitespaces,
                                                      .prefix = spec.add_space_prefix});
  pipeline.byte_fallback = std::ranges::find(spec.types, TokenType::kByte) != spec.types.end();
  pipeline.decoder.byte_fallback = pipeline.byte_fallback;
  pipeline.decoder.space = kSpaceMark;
  pipeline.decoder.strip_start = spec.add_space_prefix ? 1 : 0;
}

// BERT's vocabularies mark either the pieces inside words ("##ing") or, in GGUF files, those that
// begin one. A vocabulary without capitals was made from lowercased text.
void fill_word_piece(const TokenizerSpec& spec, Pipeline& pipeline) {
  const auto is_inner = [](const std::string& piece) { return piece.starts_with("##"); };
  const bool marks_inner = std::ranges::any_of(spec.pieces, is_inner);
  bool has_capitals = false;
  for (size_t i = 0; i < std::min(spec.pieces.size(), spec.types.size()); ++i) {
    const std::string& piece = spec.pieces[i];
    const bool bracketed = piece.starts_with('[') && piece.ends_with(']');
    has_capitals |= spec.types[i] == TokenType::kNormal && !bracketed &&
                    std::ranges::any_of(piece, [](char c) { return c >= 'A' && c <= 'Z'; });
  }
  pipeline.normalizers.emplace_back(
      normalize::Bert{.strip_accents = !has_capitals, .lowercase = !has_capitals});
  pipeline.pre_tokenizers.emplace_back(pretokenize::Bert{});
  pipeline.continuing_prefix = marks_inner ? "##" : "";
  pipeline.word_prefix = marks_inner ? "" : kSpaceMark;
  pipeline.decoder.words = true;
  pipeline.decoder.continuing_prefix = pipeline.continuing_prefix;
  pipeline.decoder.cleanup = true;
}

void fill_added(const TokenizerSpec& spec, Pipeline& pipeline) {
  for (size_t i = 0; i < std::min(spec.pieces.size(), spec.types.size()); ++i) {
    const TokenType type = spec.types[i];
    const bool special = type == TokenType::kControl || type == TokenType::kUnknown;
    if (!special && type != TokenType::kUserDefined) continue;
    pipeline.added.push_back({.id = static_cast<int32_t>(i),
                              .content = spec.pieces[i],
                              .trusted_only = special || is_chat_marker(spec.pieces[i])});
  }
}

Outcome fill_surrounding(const TokenizerSpec& spec, Pipeline& pipeline) {
  if ((spec.add_bos && !spec.bos) || (spec.add_eos && !spec.eos)) {
    return invalid(fmt::format("the tokenizer adds {} token to each text but names none",
                               spec.add_bos && !spec.bos ? "a BOS" : "an EOS"));
  }
  if (spec.add_bos) pipeline.prefix.push_back(*spec.bos);
  if (spec.add_eos) pipeline.suffix.push_back(*spec.eos);
  return {};
}

}  // namespace

Outcome complete_spec(TokenizerSpec& spec) {
  if (spec.pipeline) return {};
  Pipeline pipeline;
  switch (spec.kind) {
    case TokenizerKind::kByteBpe:
      SLUICE_RETURN_IF_ERROR(fill_byte_bpe(spec, pipeline));
      break;
    case TokenizerKind::kSentencePieceBpe:
    case TokenizerKind::kUnigram:
      fill_sentence_piece(spec, pipeline);
      break;
    case TokenizerKind::kWordPiece:
      fill_word_piece(spec, pipeline);
      break;
  }
  fill_added(spec, pipeline);
  SLUICE_RETURN_IF_ERROR(fill_surrounding(spec, pipeline));
  spec.pipeline = std::move(pipeline);
  return {};
}

}  // namespace sluice::text
