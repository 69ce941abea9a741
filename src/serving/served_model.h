// ServedModel: a loaded model with its engine, its publisher thread and the requests under way.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "completion/backend.h"
#include "engine/engine.h"
#include "serving/active_request.h"
#include "serving/block_feed.h"
#include "serving/loaded_model.h"
#include "telemetry/serving_metrics.h"

namespace sluice::serving {

// Callable from any thread.
class ServedModel {
 public:
  // `on_idle`, if there is one, is called whenever the last request under way has ended, on the
  // publisher's thread.
  static Result<std::unique_ptr<ServedModel>> start(const ModelPath& path,
                                                    const ModelSettings& settings, ThreadTeam& team,
                                                    telemetry::Metrics& metrics, const Clock& clock,
                                                    std::function<void()> on_idle = {});
  ~ServedModel();
  ServedModel(const ServedModel&) = delete;
  ServedModel& operator=(const ServedModel&) = delete;

  const std::vector<std::string>& names() const { return names_; }
  completion::ModelCard card() const;
  const LoadedModel& loaded() const { return *loaded_; }
  const Clock& clock() const { return clock_; }

  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink);
  void cancel(const std::vector<engine::RequestId>& ids);

  void drain();
  bool draining() const { return draining_; }
  bool idle() const;
  engine::EngineStats stats() const { return engine_->stats(); }
  void add_to(completion::Load& load) const;
  // Before each look at the metrics.
  void set_gauges();
  // What the prefix cache holds.
  BlockFeed& block_feed() { return block_feed_; }

 private:
  // By which calls find the model that they belong to, as long as there is one: a client's
  // connection may end long after its model left.
  struct Door {
    std::mutex mutex;
    ServedModel* model = nullptr;
  };
  class LocalCall;

  ServedModel(const ModelPath& path, const ModelSettings& settings,
              std::unique_ptr<LoadedModel> loaded, telemetry::Metrics& metrics, const Clock& clock,
              std::function<void()> on_idle);
  void start_engine(ThreadTeam& team);
  Result<std::vector<std::vector<int32_t>>> build_prompts(completion::Request& request) const;
  Result<std::vector<engine::Request>> engine_requests(
      const completion::Request& request, const std::vector<std::vector<int32_t>>& prompts);
  Outcome submit_all(std::vector<engine::Request> requests,
                     const std::shared_ptr<ActiveRequest>& active);
  void count_rejection(const Status& status) const;
  void publish_loop();
  void publish(const engine::StepOutput& output);

  const ModelSettings settings_;
  const std::vector<std::string> names_;
  const std::string root_;
  const Clock& clock_;
  const double created_;
  const std::function<void()> on_idle_;
  const std::shared_ptr<Door> door_ = std::make_shared<Door>();
  std::unique_ptr<LoadedModel> loaded_;
  telemetry::ServingMetrics metrics_;
  std::atomic<engine::RequestId> next_id_{1};
  std::atomic<uint64_t> next_seed_;

  mutable std::mutex active_mutex_;
  std::unordered_map<engine::RequestId, std::shared_ptr<ActiveRequest>> active_;

  // Outputs between the engine thread and the publisher. Not bounded by a count of its own: it
  // holds at most what the engine's running sequences produce.
  std::mutex outputs_mutex_;
  std::condition_variable outputs_ready_;
  std::vector<engine::StepOutput> outputs_;
  std::vector<PrefixChange> block_changes_;  // not yet told to block_feed_
  bool stopping_ = false;
  std::atomic<bool> draining_{false};

  std::mutex gauges_mutex_;
  engine::EngineStats last_scraped_;

  BlockFeed block_feed_;
  std::jthread publisher_;
  std::unique_ptr<engine::Engine> engine_;
};

}  // namespace sluice::serving
