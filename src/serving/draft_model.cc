#include "serving/draft_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "serving/tokenizer_setup.h"

namespace sluice::serving {
namespace {

std::unexpected<Status> another_vocabulary(const std::string& difference) {
  return invalid(fmt::format("its vocabulary is not the model's: {}. A draft model must have the "
                             "same tokens, as a smaller model of the same family has",
                             difference),
                 "speculative-config");
}

}  // namespace

Outcome check_same_vocabulary(const text::Tokenizer& model, const text::Tokenizer& draft) {
  const int32_t common = std::min(model.vocab_size(), draft.vocab_size());
  if (std::abs(model.vocab_size() - draft.vocab_size()) > kMostPadding) {
    return another_vocabulary(
        fmt::format("{} tokens, the model has {}", draft.vocab_size(), model.vocab_size()));
  }
  for (int32_t id = 0; id < common; ++id) {
    if (model.token_piece(id) == draft.token_piece(id)) continue;
    return another_vocabulary(fmt::format("token {} is '{}', the model's is '{}'", id,
                                          draft.token_piece(id), model.token_piece(id)));
  }
  return {};
}

Result<std::unique_ptr<DraftModel>> DraftModel::open(const std::filesystem::path& path,
                                                     const text::Tokenizer& tokenizer) {
  std::unique_ptr<DraftModel> draft(new DraftModel());
  SLUICE_ASSIGN_OR_RETURN(draft->source_, formats::open_model(path));
  SLUICE_ASSIGN_OR_RETURN(const auto own, load_tokenizer(*draft->source_));
  SLUICE_RETURN_IF_ERROR(check_same_vocabulary(tokenizer, *own));
  return draft;
}

int64_t DraftModel::weight_bytes(kernels::Isa isa) const {
  return model::weight_memory_bytes(*source_, isa);
}

int64_t DraftModel::kv_block_bytes(const ModelSettings& settings) const {
  return model::kv_block_bytes(source_->config(), settings.kv_type, settings.block_size);
}

Outcome DraftModel::load(const ModelSettings& settings, int64_t kv_blocks, int max_model_len,
                         ThreadTeam& team) {
  const int context = std::min(source_->config().context, max_model_len);
  const int64_t of_one = (context + settings.block_size - 1) / settings.block_size;
  const model::ModelOptions options{
      .isa = settings.isa,
      .kv_type = settings.kv_type,
      .block_size = settings.block_size,
      .kv_blocks = std::min(kv_blocks, of_one * settings.speculation.max_streams),
      .max_batch_rows = settings.max_num_batched_tokens,
      .max_context = context};
  SLUICE_ASSIGN_OR_RETURN(model_, model::load_model(*source_, options, team));
  return {};
}

}  // namespace sluice::serving
