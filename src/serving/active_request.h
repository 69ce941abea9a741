// ActiveRequest: one request under way, from engine outputs to text deltas.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "completion/backend.h"
#include "completion/request.h"
#include "completion/stop_strings.h"
#include "engine/request.h"
#include "serving/request_span.h"
#include "telemetry/serving_metrics.h"
#include "text/tokenizer.h"

namespace sluice::serving {

// What one request was submitted with.
struct ActiveRequestSetup {
  completion::Request request;
  std::vector<std::vector<int32_t>> prompts;  // token ids
  std::vector<engine::RequestId> ids;         // per choice, by prompt then n
  const text::Tokenizer* tokenizer = nullptr;
  const telemetry::ServingMetrics* metrics = nullptr;
  std::shared_ptr<completion::ResponseSink> sink;
  std::function<void(engine::RequestId)> cancel;  // tells the engine that a choice is done
  TimePoint arrived;
  const telemetry::Tracer* tracer = nullptr;  // null: nothing is traced
};

// Touched by the publisher thread only, after construction.
class ActiveRequest {
 public:
  explicit ActiveRequest(ActiveRequestSetup setup);

  // Before the engine has the request, on the caller's thread: brings the text of a resumed one to
  // where it stands, without telling it. Fails when the tokens reach a stop string, as the choice
  // would have ended there.
  Outcome replay();

  // One step's output of one of its choices. True when that choice has ended for the engine.
  bool publish(const engine::StepOutput& output);

  // Every choice has ended and the sink has heard it.
  bool done() const { return unfinished_ == 0; }

  const std::vector<engine::RequestId>& ids() const { return setup_.ids; }

 private:
  struct Choice {
    text::Detokenizer detokenizer;
    completion::StopStrings stops;
    int generated = 0;
    int replayed = 0;           // of the generated ones, elsewhere
    bool ended = false;         // for the client
    bool engine_ended = false;  // for the engine
    TimePoint first_token{};
    TimePoint last_token{};
  };

  // What was heard of a prompt so far.
  struct PromptState {
    bool counted = false;
    bool logprobs_told = false;
    std::vector<completion::LogprobEntry> logprobs;  // come in chunks, as the prefill does
  };

  size_t index_of(engine::RequestId id) const;
  void publish_prompt(size_t index, const engine::StepOutput& output);
  void tell_prompt_logprobs(size_t prompt, const engine::StepOutput& output);
  void publish_tokens(Choice& choice, const engine::StepOutput& output, completion::Delta& delta);
  void end_choice(Choice& choice, const engine::StepOutput& output, completion::Delta& delta);
  completion::LogprobEntry entry_of(const engine::TokenOutput& token) const;
  void observe_end(const Choice& choice, const engine::StepOutput& output,
                   completion::FinishReason reason);
  void finish_if_done(const engine::StepOutput& output);

  ActiveRequestSetup setup_;
  std::vector<Choice> choices_;
  std::vector<PromptState> prompts_;
  completion::Usage usage_;
  size_t unfinished_;
  std::optional<Status> failure_;
  std::unique_ptr<RequestSpan> span_;  // null: not traced
};

}  // namespace sluice::serving
