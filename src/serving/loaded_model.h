// LoadedModel: everything that one served model consists of, opened and checked.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "base/thread_team.h"
#include "completion/prompt_builder.h"
#include "formats/model_source.h"
#include "model/model.h"
#include "model/weights_cache.h"
#include "serving/draft_model.h"
#include "serving/kv_plan.h"
#include "serving/options.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sluice::serving {

// Immutable after load() but for the model's KV cache, which the engine owns. Members point into
// each other: it stays where it was made.
class LoadedModel {
 public:
  // `team` outlives the model. Errors name the file, what was expected and what was found.
  static Result<std::unique_ptr<LoadedModel>> load(const ModelPath& path,
                                                   const ModelSettings& settings, ThreadTeam& team);
  // Without weights: source, tokenizer, text, end tokens.
  static Result<std::unique_ptr<LoadedModel>> load_text(const ModelPath& path,
                                                        const ModelSettings& settings);
  // What load() would take of memory, without a draft model. Reads the file's head.
  struct MemoryPlan {
    int64_t weights = 0;
    KvPlan kv;
  };
  static Result<MemoryPlan> plan_memory(const ModelPath& path, const ModelSettings& settings);
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  const formats::ModelSource& source() const { return *source_; }
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  model::Model& model() { return *model_; }
  // nullptr where tokens are not guessed by one.
  model::Model* draft() { return draft_ ? &draft_->model() : nullptr; }
  const completion::TextModel& text() const { return text_; }
  const std::vector<int32_t>& end_tokens() const { return end_tokens_; }
  int max_model_len() const { return max_model_len_; }
  model::KvType kv_type() const { return kv_type_; }
  int64_t kv_blocks() const { return kv_blocks_; }
  int64_t kv_bytes() const { return kv_bytes_; }
  // As MemoryPlan has it: weights, a draft model's too, and the cache.
  int64_t memory_bytes() const { return weight_bytes_ + kv_bytes_; }

  // Returns when no weights are being written for later starts (any more).
  void wait_until_cached();

  // The numerics id (DESIGN: equal ids give equal tokens): a hash of weights digest, build, ISA, KV
  // type and every flag that changes numbers. Waits for the digest, which is computed in the
  // background.
  std::string fingerprint() const;

 private:
  LoadedModel() = default;
  Outcome set_up_text(const ModelPath& path, const ModelSettings& settings);
  Outcome set_up_model(const ModelPath& path, const ModelSettings& settings, ThreadTeam& team);
  void start_digest();
  void start_caching();

  std::unique_ptr<formats::ModelSource> source_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  text::ChatTemplate chat_template_;
  completion::TextModel text_;
  std::unique_ptr<model::WeightsCache> weights_cache_;  // may be null
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<DraftModel> draft_;  // may be null
  std::vector<int32_t> end_tokens_;
  int max_model_len_ = 0;
  model::KvType kv_type_ = model::KvType::kF16;
  int64_t kv_blocks_ = 0;
  int64_t kv_bytes_ = 0;
  int64_t weight_bytes_ = 0;
  std::string numeric_flags_;
  std::shared_future<uint64_t> digest_;
  std::jthread cache_writer_;  // of weights_cache_; stops early when asked to
};

}  // namespace sluice::serving
