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

int64_t DraftModel::kv_block_bytes(model::KvType type, int block_size) const {
  return model::kv_block_bytes(source_->config(), type, block_size);
}

Outcome DraftModel::load(model::ModelOptions options, int max_streams, ThreadTeam& team) {
  options.max_context = std::min(source_->config().context, options.max_context);
  const int64_t of_one = (options.max_context + options.block_size - 1) / options.block_size;
  options.kv_blocks = std::min(options.kv_blocks, of_one * max_streams);
  SLUICE_ASSIGN_OR_RETURN(model_, model::load_model(*source_, options, team));
  return {};
}

}  // namespace sluice::serving
