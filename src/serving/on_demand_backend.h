// OnDemandBackend: answers from models of which more are known than memory holds: they are loaded
// when they are asked for and make room for each other (model_pool.h).
//
// A request for a model that is not in memory is accepted and waits; its sink hears how that ended.
// Tokenizing needs no weights: for a model that is not loaded its vocabulary alone is read, and
// that of the last such model is kept.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/thread_team.h"
#include "serving/loaded_model.h"
#include "serving/model_pool.h"
#include "serving/serving_backend.h"
#include "telemetry/metrics.h"

namespace sluice::serving {

struct OnDemandOptions {
  int64_t memory_bytes = 0;  // weights and caches of all that is loaded; 0: of what is at hand
  Duration load_patience = std::chrono::seconds(120);
  size_t max_waiting = limits::kMaxQueuedRequests;  // for one model
};

// Callable from any thread, but for add_model().
class OnDemandBackend final : public ServingBackend {
 public:
  // Of the memory budget, for the cache of one model, unless --kv-cache-memory-bytes says how much.
  static constexpr int64_t kCacheShare = 8;

  // `team` and `metrics` outlive the backend.
  OnDemandBackend(const OnDemandOptions& options, ThreadTeam& team, telemetry::Metrics& metrics,
                  const Clock& clock = system_clock());
  ~OnDemandBackend() override;

  // Only notes the model: its file is looked into, not loaded. One that cannot be read, or that is
  // larger than the budget, is known all the same, and refused by name when it is asked for, until
  // its file is replaced by a better one.
  Outcome add_model(const ModelPath& path, const ModelSettings& settings) override;
  void drain() override { pool_.drain(); }
  bool idle() const override { return pool_.idle(); }

  std::vector<completion::ModelCard> models() const override;
  Result<completion::ModelCard> find_model(const std::string& name) const override;
  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink) override;
  Result<completion::TokenizeResult> tokenize(
      const completion::TokenizeRequest& request) const override;
  Result<std::string> detokenize(const std::string& model,
                                 const std::vector<int32_t>& tokens) const override;
  bool ready() const override { return !pool_.draining(); }
  uint64_t steps(const std::string& model) const override;
  completion::Load load() const override;
  bool changes_models() const override { return true; }
  void change_model(const std::string& model, bool load,
                    const std::function<void(Outcome)>& done) override;

  int64_t memory_bytes() const { return memory_bytes_; }

 private:
  struct Known {
    ModelPath path;
    ModelSettings settings;
  };
  // The text half of a model that is not loaded.
  struct Text {
    size_t index = 0;
    std::unique_ptr<LoadedModel> model;
  };

  Result<size_t> find(const std::string& name) const;
  Result<std::shared_ptr<const Text>> text_of(size_t index) const;
  void forget_text(size_t index);
  // Calls `use` with the model's text half, loaded or not.
  template <typename T, typename Use>
  Result<T> with_text(const std::string& name, const Use& use) const;

  const int64_t memory_bytes_;
  ThreadTeam& team_;
  telemetry::Metrics& metrics_;
  const Clock& clock_;
  std::vector<Known> known_;
  std::map<std::string, size_t, std::less<>> by_name_;

  mutable std::mutex text_mutex_;  // guards text_
  mutable std::shared_ptr<const Text> text_;

  mutable ModelPool pool_;  // use is counted; its threads use all the others
};

}  // namespace sluice::serving
