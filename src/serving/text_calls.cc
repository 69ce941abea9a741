#include "serving/text_calls.h"

#include <fmt/format.h>

#include "completion/prompt_builder.h"
#include "serving/loaded_model.h"

namespace sluice::serving {

Result<completion::TokenizeResult> tokenize_by(const LoadedModel& model,
                                               const completion::TokenizeRequest& request,
                                               const Clock& clock) {
  completion::TokenizeResult result;
  SLUICE_ASSIGN_OR_RETURN(result.tokens,
                          completion::build_prompt(model.text(), request.prompt, clock));
  if (request.with_pieces) {
    for (const int32_t id : result.tokens) {
      result.pieces.emplace_back(model.tokenizer().token_piece(id));
    }
  }
  result.max_model_len = model.max_model_len();
  return result;
}

Result<std::string> detokenize_by(const LoadedModel& model, const std::vector<int32_t>& tokens) {
  const text::Tokenizer& tokenizer = model.tokenizer();
  for (const int32_t id : tokens) {
    if (id < 0 || id >= tokenizer.vocab_size()) {
      return invalid(fmt::format("'tokens' holds id {}; this model's ids end at {}", id,
                                 tokenizer.vocab_size() - 1),
                     "tokens");
    }
  }
  return text::detokenize(tokenizer, tokens, {.skip_special = false});
}

}  // namespace sluice::serving
