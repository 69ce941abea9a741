// LocalBackend: completion::Backend over engines in this process.
//
// Threads: callers' (template, tokenizing, submission), one engine thread per model, one publisher
// thread per model (detokenizing, stop strings, sinks). The engine thread only hands its outputs
// on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/thread_team.h"
#include "completion/backend.h"
#include "serving/options.h"
#include "serving/serving_backend.h"
#include "telemetry/metrics.h"

namespace sluice::serving {

class ServedModel;

class LocalBackend final : public ServingBackend {
 public:
  LocalBackend(ThreadTeam& team, telemetry::Metrics& metrics, const Clock& clock = system_clock());
  ~LocalBackend() override;  // cancels what runs

  // Loads a model and starts its engine.
  Outcome add_model(const ModelPath& path, const ModelSettings& settings) override;

  std::vector<completion::ModelCard> models() const override;
  Result<completion::ModelCard> find_model(const std::string& name) const override;
  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink) override;
  Result<completion::TokenizeResult> tokenize(
      const completion::TokenizeRequest& request) const override;
  Result<std::string> detokenize(const std::string& model,
                                 const std::vector<int32_t>& tokens) const override;
  bool ready() const override;
  uint64_t steps(const std::string& model) const override;
  completion::Load load() const override;
  Outcome watch_blocks(const std::string& model,
                       const std::shared_ptr<completion::BlockWatcher>& watcher) override;

  void drain() override;
  bool idle() const override;

 private:
  Result<ServedModel*> find(const std::string& name) const;

  ThreadTeam& team_;
  telemetry::Metrics& metrics_;
  const Clock& clock_;
  std::vector<std::unique_ptr<ServedModel>> models_;
};

}  // namespace sluice::serving
