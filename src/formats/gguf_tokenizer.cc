#include "formats/gguf_tokenizer.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "formats/generation_check.h"
#include "formats/gguf_fields.h"

namespace sluice::formats {
namespace {

void check_length(GgufFields& f, std::string_view key, size_t found, size_t tokens) {
  if (found != 0 && found != tokens) {
    f.refuse(key,
             fmt::format("one value for each of the {} tokens expected; found {}", tokens, found));
  }
}

}  // namespace

Result<TokenizerSource> gguf_tokenizer(const GgufFile& file, int vocab) {
  TokenizerSource t;
  GgufFields f(file, "tokenizer.ggml.");
  t.model = f.text("model").value_or("");
  t.pre = f.text("pre").value_or("");
  t.tokens = f.texts("tokens", limits::kMaxVocabulary, limits::kMaxTokenBytes);
  t.scores = f.numbers("scores", limits::kMaxVocabulary);
  t.types = f.integers("token_type", limits::kMaxVocabulary);
  t.merges = f.texts("merges", limits::kMaxVocabulary * 2, 2 * limits::kMaxTokenBytes + 1);
  check_length(f, "scores", t.scores.size(), t.tokens.size());
  check_length(f, "token_type", t.types.size(), t.tokens.size());

  const IntRange ids{0, vocab - 1};
  const auto id = [&](std::string_view key) -> std::optional<int32_t> {
    return f.integer(key, ids);
  };
  t.bos = id("bos_token_id");
  t.eos = id("eos_token_id");
  t.eot = id("eot_token_id");
  t.eom = id("eom_token_id");
  t.unk = id("unknown_token_id");
  // Nothing is ever padded here, and some converters write 2^32 - 1 for "none".
  const auto pad = f.integer("padding_token_id", {INT32_MIN, UINT32_MAX});
  if (pad && *pad >= 0 && *pad < vocab) t.pad = *pad;
  t.add_bos = f.boolean("add_bos_token");
  t.add_eos = f.boolean("add_eos_token");
  t.add_space_prefix = f.boolean("add_space_prefix");
  t.remove_extra_whitespaces = f.boolean("remove_extra_whitespaces");
  t.precompiled_charsmap = f.bytes("precompiled_charsmap");
  SLUICE_RETURN_IF_ERROR(f.outcome());
  return t;
}

Result<GenerationDefaults> gguf_generation(const GgufFile& file, int vocab) {
  GenerationDefaults g;
  GgufFields f(file, "general.sampling.");
  g.temperature = f.number("temp");
  g.top_p = f.number("top_p");
  g.min_p = f.number("min_p");
  g.repetition_penalty = f.number("penalty_repeat");
  g.top_k = f.integer("top_k", {INT32_MIN, INT32_MAX});
  SLUICE_RETURN_IF_ERROR(f.outcome());
  GgufFields ids(file, "tokenizer.ggml.");
  g.eos_ids = ids.integers("eos_token_ids", kMaxEosIds);
  SLUICE_RETURN_IF_ERROR(ids.outcome());
  SLUICE_RETURN_IF_ERROR(check_generation(g, vocab));
  return g;
}

Result<std::string> gguf_chat_template(const GgufFile& file) {
  GgufFields f(file, "tokenizer.");
  std::string text = f.text("chat_template").value_or("");
  SLUICE_RETURN_IF_ERROR(f.outcome());
  if (text.size() > limits::kMaxTemplateBytes) {
    return fail(Code::kTooLarge, fmt::format("the chat template has {} bytes; at most {}",
                                             text.size(), limits::kMaxTemplateBytes));
  }
  return text;
}

}  // namespace sluice::formats
