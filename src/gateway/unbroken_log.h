// AnswerLog: what a client has been told of its answer, as far as another replica must know it to
// go on. Pure data, no thread, no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "api/internal_events.h"
#include "base/status.h"
#include "completion/request.h"

namespace sluice::gateway {

class AnswerLog {
 public:
  // `request` has a seed.
  explicit AnswerLog(completion::Request request);

  // The answer begins where `start` says. From here on the prompts are token ids: text and
  // templates are not needed again, and must not be read a second time (a template may ask for the
  // date).
  void begin(const api::StartEvent& start);
  bool begun() const { return begun_; }

  // Takes what is about to be told. Fails with kDataLoss when it cannot follow what was told
  // already: another choice, a choice that is over, the same logprobs again.
  Outcome add(const completion::Delta& delta);
  Outcome add_prompt_logprobs(int prompt);

  // Every choice is over: only the end is left to tell.
  bool complete() const { return open_choices_ == 0; }
  completion::Usage usage() const;

  // What to ask a replica for: before begin() the request as it came, after it a resumption where
  // the client stands. With `any_revision` the replica may have another numerics id.
  completion::Request next_request(bool any_revision) const;
  const std::string& fingerprint() const { return fingerprint_; }
  const std::optional<TimePoint>& deadline() const { return request_.deadline; }
  void go_on_with(const api::StartEvent& start);  // after a change of revision

 private:
  completion::Request request_;
  bool begun_ = false;
  std::string fingerprint_;
  int max_model_len_ = 0;
  int prompt_tokens_ = 0;
  std::vector<completion::ChoiceProgress> choices_;
  std::vector<bool> logprobs_told_;
  size_t open_choices_;
};

}  // namespace sluice::gateway
