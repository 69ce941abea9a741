#include "serving/tokenizer_setup.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "text/gguf_tokenizer.h"
#include "text/tokenizer_json.h"

namespace sluice::serving {
namespace {

// Pieces whose names say that they end a turn, for files that name only one end token.
constexpr std::array<std::string_view, 8> kEndPieces = {
    "<|im_end|>",    "<|eot_id|>",    "<|end_of_text|>", "<|end|>",
    "<end_of_turn>", "<|endoftext|>", "<|eom_id|>",      "<|return|>"};

}  // namespace

Result<std::unique_ptr<text::Tokenizer>> load_tokenizer(const formats::ModelSource& source) {
  const formats::TokenizerSource& from = source.tokenizer();
  if (!from.tokenizer_json.empty()) {
    SLUICE_ASSIGN_OR_RETURN(
        auto spec, text::parse_tokenizer_json(from.tokenizer_json, from.tokenizer_config_json));
    return text::Tokenizer::create(std::move(spec));
  }
  text::GgufTokenizerFields fields;
  fields.model = from.model;
  fields.pre = from.pre;
  fields.tokens = from.tokens;
  fields.scores = from.scores;
  fields.types = from.types;
  fields.merges = from.merges;
  fields.bos = from.bos;
  fields.eos = from.eos;
  fields.unk = from.unk;
  fields.pad = from.pad;
  fields.add_bos = from.add_bos;
  fields.add_eos = from.add_eos;
  fields.add_space_prefix = from.add_space_prefix;
  fields.remove_extra_whitespaces = from.remove_extra_whitespaces;
  fields.precompiled_charsmap = from.precompiled_charsmap;
  SLUICE_ASSIGN_OR_RETURN(auto spec, text::gguf_tokenizer_spec(std::move(fields)));
  return text::Tokenizer::create(std::move(spec));
}

std::vector<int32_t> end_tokens(const formats::ModelSource& source,
                                const text::Tokenizer& tokenizer) {
  std::vector<int32_t> ids = source.generation().eos_ids;
  const auto add = [&ids](std::optional<int32_t> id) {
    if (id && std::ranges::find(ids, *id) == ids.end()) ids.push_back(*id);
  };
  add(tokenizer.spec().eos);
  add(source.tokenizer().eot);
  add(source.tokenizer().eom);
  for (const std::string_view piece : kEndPieces) {
    const auto id = tokenizer.find_piece(piece);
    if (id && tokenizer.is_special(*id)) add(id);
  }
  return ids;
}

}  // namespace sluice::serving
