// DraftModel: the second, smaller model that guesses the tokens of a served one (engine/drafter.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/status.h"
#include "base/thread_team.h"
#include "formats/model_source.h"
#include "model/model.h"
#include "serving/options.h"
#include "text/tokenizer.h"

namespace sluice::serving {

// Whether token ids mean the same to both: every id that both have is the same piece, and one of
// them has at most kMostPadding ids more, as vocabularies are filled up to round sizes.
Outcome check_same_vocabulary(const text::Tokenizer& model, const text::Tokenizer& draft);
inline constexpr int32_t kMostPadding = 1024;

// Outlives the engine that it drafts for, which owns its KV cache. open(), then load().
class DraftModel {
 public:
  // Fails when it has another vocabulary than the model's tokenizer.
  static Result<std::unique_ptr<DraftModel>> open(const std::filesystem::path& path,
                                                  const text::Tokenizer& tokenizer);

  int64_t weight_bytes(kernels::Isa isa) const;
  int64_t kv_block_bytes(model::KvType type, int block_size) const;

  // `options` are the model's. The cache has as many blocks as `max_streams` sequences take, which
  // are drafted for, at most the model's.
  Outcome load(model::ModelOptions options, int max_streams, ThreadTeam& team);
  model::Model& model() { return *model_; }

 private:
  DraftModel() = default;

  std::unique_ptr<formats::ModelSource> source_;
  std::unique_ptr<model::Model> model_;
};

}  // namespace sluice::serving
