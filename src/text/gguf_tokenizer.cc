#include "text/gguf_tokenizer.h"

#include <fmt/format.h>

#include "text/chat_markers.h"
#include "text/pre_patterns.h"

namespace sluice::text {
namespace {

Result<std::vector<TokenType>> read_types(const GgufTokenizerFields& fields) {
  if (fields.types.empty()) return std::vector(fields.tokens.size(), TokenType::kNormal);
  std::vector<TokenType> types;
  types.reserve(fields.types.size());
  for (size_t i = 0; i < fields.types.size(); ++i) {
    const int32_t type = fields.types[i];
    // 0 ("undefined") stands in files whose writer knew no types.
    if (type < 0 || type > 6) {
      return invalid(fmt::format("token {} has type {}; expected 1 (normal) to 6 (byte)", i, type));
    }
    types.push_back(type == 0 ? TokenType::kNormal : static_cast<TokenType>(type));
  }
  return types;
}

Result<std::vector<std::pair<std::string, std::string>>> read_merges(
    const std::vector<std::string>& lines) {
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    // A piece may begin with the space itself, so the separator is not looked for at 0.
    const size_t space = lines[i].find(' ', 1);
    if (space == std::string::npos || space + 1 >= lines[i].size()) {
      return invalid(fmt::format("merge {} is not two pieces separated by a space", i));
    }
    merges.emplace_back(lines[i].substr(0, space), lines[i].substr(space + 1));
  }
  return merges;
}

// A default id counts only where the vocabulary has such a token.
void set_default(std::optional<int32_t>& id, int32_t value, size_t size) {
  if (!id && static_cast<size_t>(value) < size) id = value;
}

Outcome fill_kind(const GgufTokenizerFields& fields, TokenizerSpec& spec) {
  const size_t size = fields.tokens.size();
  if (fields.model == "llama") {
    spec.kind = TokenizerKind::kSentencePieceBpe;
    spec.add_bos = fields.add_bos.value_or(true);
    spec.add_space_prefix = fields.add_space_prefix.value_or(true);
    set_default(spec.bos, 1, size);
    set_default(spec.eos, 2, size);
    set_default(spec.unk, 0, size);
  } else if (fields.model == "gpt2") {
    spec.kind = TokenizerKind::kByteBpe;
    spec.pre = fields.pre.empty() ? "default" : fields.pre;
    const auto known = find_pre_pattern(spec.pre);
    spec.add_bos = fields.add_bos.value_or(known && known->add_bos && spec.bos);
    SLUICE_ASSIGN_OR_RETURN(spec.merges, read_merges(fields.merges));
  } else if (fields.model == "t5") {
    spec.kind = TokenizerKind::kUnigram;
    spec.add_eos = fields.add_eos.value_or(true);
    spec.add_space_prefix = fields.add_space_prefix.value_or(true);
    set_default(spec.eos, 1, size);
    set_default(spec.unk, 2, size);
  } else if (fields.model == "bert") {
    spec.kind = TokenizerKind::kWordPiece;
    spec.add_bos = fields.add_bos.value_or(true);
    spec.add_eos = fields.add_eos.value_or(true);
    set_default(spec.unk, 100, size);
    set_default(spec.bos, 101, size);
    set_default(spec.eos, 102, size);
  } else {
    return fail(Code::kUnimplemented,
                fmt::format("the tokenizer model \"{}\" is not supported; known are: llama "
                            "(SentencePiece BPE), gpt2 (byte-level BPE), t5 (unigram), bert "
                            "(WordPiece)",
                            fields.model.substr(0, 80)));
  }
  return {};
}

void type_special_tokens(const GgufTokenizerFields& fields, TokenizerSpec& spec) {
  const auto is_markup = [](const std::string& piece) {
    return piece.size() > 2 && ((piece.starts_with('<') && piece.ends_with('>')) ||
                                (piece.starts_with('[') && piece.ends_with(']')));
  };
  for (const auto& id : {spec.bos, spec.eos, fields.eot, fields.eom}) {
    if (!id || *id < 0 || static_cast<size_t>(*id) >= spec.pieces.size()) continue;
    const auto i = static_cast<size_t>(*id);
    if (is_markup(spec.pieces[i])) spec.types[i] = TokenType::kControl;
  }
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    const bool visible =
        spec.types[i] == TokenType::kNormal || spec.types[i] == TokenType::kUserDefined;
    if (visible && is_end_marker(spec.pieces[i])) spec.types[i] = TokenType::kControl;
  }
}

}  // namespace

Result<TokenizerSpec> gguf_tokenizer_spec(GgufTokenizerFields fields) {
  TokenizerSpec spec;
  spec.bos = fields.bos;
  spec.eos = fields.eos;
  spec.unk = fields.unk;
  spec.pad = fields.pad;
  spec.add_eos = fields.add_eos.value_or(false);
  spec.remove_extra_whitespaces = fields.remove_extra_whitespaces.value_or(false);
  SLUICE_RETURN_IF_ERROR(fill_kind(fields, spec));
  SLUICE_ASSIGN_OR_RETURN(spec.types, read_types(fields));
  if (spec.types.size() != fields.tokens.size()) {
    return invalid(fmt::format("the file has {} tokens but {} token types", fields.tokens.size(),
                               spec.types.size()));
  }
  spec.pieces = std::move(fields.tokens);
  spec.scores = std::move(fields.scores);
  spec.precompiled_charsmap.assign(fields.precompiled_charsmap.begin(),
                                   fields.precompiled_charsmap.end());
  type_special_tokens(fields, spec);
  SLUICE_RETURN_IF_ERROR(complete_spec(spec));
  return spec;
}

}  // namespace sluice::text
