// The model of tokenizer.json: its vocabulary, merges and scores.
#include <algorithm>

#include "base/limits.h"
#include "text/byte_alphabet.h"
#include "text/json_fields.h"

namespace sluice::text {
namespace {

Outcome add_piece(std::string_view piece, int64_t id, TokenizerSpec& spec,
                  std::vector<bool>& taken) {
  if (id < 0 || static_cast<uint64_t>(id) >= limits::kMaxVocabulary) {
    return invalid(fmt::format("the token \"{}\" has id {}; expected 0 to {}", piece.substr(0, 80),
                               id, limits::kMaxVocabulary - 1));
  }
  const auto index = static_cast<size_t>(id);
  if (index >= spec.pieces.size()) {
    spec.pieces.resize(index + 1);
    taken.resize(index + 1);
  }
  if (taken[index]) return invalid(fmt::format("two tokens have the id {}", id));
  taken[index] = true;
  spec.pieces[index] = piece;
  return {};
}

Outcome read_vocabulary(const json::object& model, TokenizerSpec& spec) {
  SLUICE_ASSIGN_OR_RETURN(const json::object* vocab, object_field(model, "vocab"));
  if (vocab == nullptr) return invalid("the model has no \"vocab\"");
  if (vocab->size() > limits::kMaxVocabulary) {
    return fail(Code::kTooLarge, fmt::format("\"vocab\" has {} tokens; at most {} are read",
                                             vocab->size(), limits::kMaxVocabulary));
  }
  std::vector<bool> taken;
  for (const auto& entry : *vocab) {
    if (!entry.value().is_int64()) return wrong_kind("vocab", "integer ids", entry.value());
    SLUICE_RETURN_IF_ERROR(add_piece(entry.key(), entry.value().get_int64(), spec, taken));
  }
  spec.types.assign(spec.pieces.size(), TokenType::kNormal);
  for (size_t i = 0; i < taken.size(); ++i) {
    if (!taken[i]) spec.types[i] = TokenType::kUnused;
  }
  return {};
}

// "left right", or ["left", "right"] in newer files.
Outcome read_merges(const json::object& model, TokenizerSpec& spec) {
  const json::value* merges = find_field(model, "merges");
  if (merges == nullptr) return {};
  if (!merges->is_array()) return wrong_kind("merges", "a list", *merges);
  spec.merges.reserve(merges->get_array().size());
  for (const json::value& merge : merges->get_array()) {
    if (merge.is_string()) {
      const std::string_view line = merge.get_string();
      const size_t space = line.find(' ');
      if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
        return invalid(
            fmt::format("merge {} is not two pieces separated by a space", spec.merges.size()));
      }
      spec.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    } else if (merge.is_array() && merge.get_array().size() == 2 &&
               merge.get_array()[0].is_string() && merge.get_array()[1].is_string()) {
      spec.merges.emplace_back(std::string(merge.get_array()[0].get_string()),
                               std::string(merge.get_array()[1].get_string()));
    } else {
      return wrong_kind("merges", "a list of strings or of pairs of strings", merge);
    }
  }
  return {};
}

Outcome find_unknown(const json::object& model, TokenizerSpec& spec) {
  SLUICE_ASSIGN_OR_RETURN(const std::string unknown, string_field(model, "unk_token", ""));
  if (unknown.empty()) return {};
  const auto found = std::ranges::find(spec.pieces, unknown);
  if (found == spec.pieces.end()) {
    return invalid(
        fmt::format("the unknown token \"{}\" is not in the vocabulary", unknown.substr(0, 80)));
  }
  spec.unk = static_cast<int32_t>(found - spec.pieces.begin());
  spec.types[static_cast<size_t>(*spec.unk)] = TokenType::kUnknown;
  return {};
}

Outcome refuse_affix(const json::object& model, std::string_view key) {
  SLUICE_ASSIGN_OR_RETURN(const std::string affix, string_field(model, key, ""));
  if (affix.empty()) return {};
  return fail(Code::kUnimplemented, fmt::format("a BPE model with \"{}\" \"{}\" is not supported",
                                                key, affix.substr(0, 80)));
}

Outcome read_bpe(const json::object& model, TokenizerSpec& spec) {
  const bool has_byte_level =
      spec.pipeline->decoder.byte_level ||
      std::ranges::any_of(spec.pipeline->pre_tokenizers, [](const pretokenize::Step& step) {
        return std::holds_alternative<pretokenize::ByteLevel>(step);
      });
  spec.kind = has_byte_level ? TokenizerKind::kByteBpe : TokenizerKind::kSentencePieceBpe;
  SLUICE_RETURN_IF_ERROR(refuse_affix(model, "continuing_subword_prefix"));
  SLUICE_RETURN_IF_ERROR(refuse_affix(model, "end_of_word_suffix"));
  if (const json::value* dropout = find_field(model, "dropout")) {
    if (!dropout->is_number() || dropout->to_number<double>() != 0) {
      return fail(Code::kUnimplemented, "a BPE model with \"dropout\" is not supported");
    }
  }
  SLUICE_RETURN_IF_ERROR(read_vocabulary(model, spec));
  SLUICE_RETURN_IF_ERROR(read_merges(model, spec));
  SLUICE_RETURN_IF_ERROR(find_unknown(model, spec));
  if (spec.kind == TokenizerKind::kSentencePieceBpe && spec.merges.empty()) {
    return invalid("the BPE model has no merges");
  }
  Pipeline& pipeline = *spec.pipeline;
  SLUICE_ASSIGN_OR_RETURN(pipeline.fuse_unk, bool_field(model, "fuse_unk", false));
  SLUICE_ASSIGN_OR_RETURN(pipeline.byte_fallback, bool_field(model, "byte_fallback", false));
  SLUICE_ASSIGN_OR_RETURN(pipeline.ignore_merges, bool_field(model, "ignore_merges", false));
  return {};
}

Outcome read_unigram(const json::object& model, TokenizerSpec& spec) {
  spec.kind = TokenizerKind::kUnigram;
  const json::value* vocab = find_field(model, "vocab");
  if (vocab == nullptr || !vocab->is_array()) {
    return invalid("the Unigram model has no list \"vocab\"");
  }
  if (vocab->get_array().size() > limits::kMaxVocabulary) {
    return fail(Code::kTooLarge, fmt::format("\"vocab\" has {} tokens; at most {} are read",
                                             vocab->get_array().size(), limits::kMaxVocabulary));
  }
  for (const json::value& entry : vocab->get_array()) {
    if (!entry.is_array() || entry.get_array().size() != 2 || !entry.get_array()[0].is_string() ||
        !entry.get_array()[1].is_number()) {
      return wrong_kind("vocab", "a list of [piece, score]", entry);
    }
    spec.pieces.emplace_back(entry.get_array()[0].get_string());
    spec.scores.push_back(static_cast<float>(entry.get_array()[1].to_number<double>()));
  }
  spec.types.assign(spec.pieces.size(), TokenType::kNormal);
  SLUICE_ASSIGN_OR_RETURN(const int64_t unknown, int_field(model, "unk_id", -1));
  if (unknown >= static_cast<int64_t>(spec.pieces.size())) {
    return invalid(
        fmt::format("\"unk_id\" is {}, but there are {} tokens", unknown, spec.pieces.size()));
  }
  if (unknown >= 0) {
    spec.unk = static_cast<int32_t>(unknown);
    spec.types[static_cast<size_t>(unknown)] = TokenType::kUnknown;
  }
  spec.pipeline->float_scores = false;
  SLUICE_ASSIGN_OR_RETURN(spec.pipeline->byte_fallback, bool_field(model, "byte_fallback", false));
  return {};
}

Outcome read_word_piece(const json::object& model, TokenizerSpec& spec) {
  spec.kind = TokenizerKind::kWordPiece;
  SLUICE_RETURN_IF_ERROR(read_vocabulary(model, spec));
  SLUICE_RETURN_IF_ERROR(find_unknown(model, spec));
  SLUICE_ASSIGN_OR_RETURN(spec.pipeline->continuing_prefix,
                          string_field(model, "continuing_subword_prefix", "##"));
  SLUICE_ASSIGN_OR_RETURN(const int64_t longest, int_field(model, "max_input_chars_per_word", 100));
  if (longest < 1 || longest > 10'000) {
    return invalid(fmt::format("\"max_input_chars_per_word\" is {}; expected 1 to 10000", longest));
  }
  spec.pipeline->max_word_chars = static_cast<int>(longest);
  return {};
}

void type_byte_pieces(TokenizerSpec& spec) {
  if (!spec.pipeline->byte_fallback && !spec.pipeline->decoder.byte_fallback) return;
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    if (parse_byte_piece(spec.pieces[i])) spec.types[i] = TokenType::kByte;
  }
}

// Old files do not say the type.
std::string_view guess_type(const json::object& model) {
  if (model.contains("merges")) return "BPE";
  const json::value* vocab = find_field(model, "vocab");
  return vocab != nullptr && vocab->is_array() ? "Unigram" : "WordPiece";
}

}  // namespace

Outcome parse_json_model(const json::object& root, TokenizerSpec& spec) {
  SLUICE_ASSIGN_OR_RETURN(const json::object* model, object_field(root, "model"));
  if (model == nullptr) return invalid("the file has no \"model\"");
  SLUICE_ASSIGN_OR_RETURN(const std::string type, string_field(*model, "type", guess_type(*model)));
  if (type == "BPE") {
    SLUICE_RETURN_IF_ERROR(read_bpe(*model, spec));
  } else if (type == "Unigram") {
    SLUICE_RETURN_IF_ERROR(read_unigram(*model, spec));
  } else if (type == "WordPiece") {
    SLUICE_RETURN_IF_ERROR(read_word_piece(*model, spec));
  } else {
    return unsupported_stage("tokenizer model", type, "BPE, Unigram, WordPiece");
  }
  if (spec.kind != TokenizerKind::kByteBpe) type_byte_pieces(spec);
  return {};
}

}  // namespace sluice::text
