// Collector: gathers the whole answer of one request and hands it to a callback, once.
#pragma once

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "completion/backend.h"
#include "completion/request.h"

namespace sluice::completion {

// What ended a choice besides the model's own end token: see Delta::stop_reason.
using StopReason = std::variant<std::monostate, std::string, int32_t>;

struct AnsweredChoice {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<LogprobEntry> logprobs;
  FinishReason finish = FinishReason::kStop;
  StopReason stop_reason;
};

struct Answer {
  std::vector<AnsweredChoice> choices;  // by prompt, then n
  Usage usage;
};

// Prompt log-probabilities are dropped.
class Collector : public ResponseSink {
 public:
  using Done = std::function<void(Result<Answer>)>;

  // `done` is called on the backend's thread and must not block.
  Collector(const Request& request, Done done);

  void on_start(PromptInfo info) override;
  void on_prompt_logprobs(int prompt, std::vector<LogprobEntry> entries) override;
  void on_delta(Delta delta) override;
  void on_done(const Usage& usage) override;
  void on_error(const Status& status) override;

 private:
  const Done done_;
  Answer answer_;
};

}  // namespace sluice::completion
