// InternalStream: one answer of POST /internal/v1/generate, as framed events (api/internal_events).
//
// It is the completion::ResponseSink of its request. Beats and the news that the server is leaving
// come from elsewhere; all methods are callable from any thread and never block.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "api/internal_events.h"
#include "completion/backend.h"
#include "net/server.h"

namespace sluice::endpoint {

class InternalStream : public completion::ResponseSink {
 public:
  // Begins the answer at once: beats may be needed long before the first token.
  explicit InternalStream(std::shared_ptr<net::Responder> responder);

  // What the start event tells besides the prompt. Before on_start.
  void set_start(std::string model, std::string fingerprint, int max_model_len, uint64_t seed,
                 bool resumed);

  void on_start(completion::PromptInfo info) override;
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) override;
  void on_delta(completion::Delta delta) override;
  void on_done(const completion::Usage& usage) override;
  void on_error(const Status& status) override;

  // The replica drains; the answer goes on until its reader leaves.
  void leave();
  // A beat, unless something was said since the last call.
  void beat(uint64_t step);
  // Ended, or its reader is gone.
  bool over() const { return over_ || responder_->closed(); }
  std::string model() const;

 private:
  template <typename Event>
  void send(const Event& event);
  void end();

  const std::shared_ptr<net::Responder> responder_;
  mutable std::mutex mutex_;  // keeps the events' numbers in the order of their bytes
  api::EventWriter writer_;
  std::string frame_;  // reused
  api::StartEvent start_;
  std::string model_;
  bool resumed_ = false;
  std::atomic<bool> spoke_{true};
  std::atomic<bool> over_{false};
};

}  // namespace sluice::endpoint
