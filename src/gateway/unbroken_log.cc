#include "gateway/unbroken_log.h"

#include <fmt/format.h>

#include <utility>

namespace sluice::gateway {

AnswerLog::AnswerLog(completion::Request request)
    : request_(std::move(request)),
      choices_(request_.prompts.size() * static_cast<size_t>(request_.choices_per_prompt)),
      logprobs_told_(request_.prompts.size()),
      open_choices_(choices_.size()) {}

void AnswerLog::begin(const api::StartEvent& start) {
  begun_ = true;
  go_on_with(start);
  request_.prompts.clear();
  for (const std::vector<int32_t>& tokens : start.info.tokens) {
    prompt_tokens_ += static_cast<int>(tokens.size());
    request_.prompts.emplace_back(completion::TokenPrompt{tokens});
  }
  request_.echo = false;
  request_.truncate_prompt_tokens.reset();
}

void AnswerLog::go_on_with(const api::StartEvent& start) {
  fingerprint_ = start.fingerprint;
  max_model_len_ = start.max_model_len;
}

Outcome AnswerLog::add(const completion::Delta& delta) {
  const auto index = static_cast<size_t>(delta.choice);
  if (delta.choice < 0 || index >= choices_.size()) {
    return fail(Code::kDataLoss,
                fmt::format("a replica told of choice {} of {}", delta.choice, choices_.size()));
  }
  completion::ChoiceProgress& choice = choices_[index];
  if (choice.ended_after) {
    return fail(Code::kDataLoss,
                fmt::format("a replica went on with choice {}, which had ended", delta.choice));
  }
  choice.tokens.insert(choice.tokens.end(), delta.tokens.begin(), delta.tokens.end());
  if (!delta.finish) return {};
  choice.ended_after = static_cast<int>(choice.tokens.size());
  choice.tokens = {};
  --open_choices_;
  return {};
}

Outcome AnswerLog::add_prompt_logprobs(int prompt) {
  const auto index = static_cast<size_t>(prompt);
  if (prompt < 0 || index >= logprobs_told_.size() || logprobs_told_[index]) {
    return fail(Code::kDataLoss,
                fmt::format("a replica told of prompt {}, which was not due", prompt));
  }
  logprobs_told_[index] = true;
  return {};
}

completion::Usage AnswerLog::usage() const {
  completion::Usage usage{.prompt_tokens = prompt_tokens_};
  for (const completion::ChoiceProgress& choice : choices_) {
    usage.completion_tokens += choice.ended_after.value_or(static_cast<int>(choice.tokens.size()));
  }
  return usage;
}

completion::Request AnswerLog::next_request(bool any_revision) const {
  completion::Request request = request_;
  if (!begun_) return request;
  request.resume = completion::Resume{.choices = choices_,
                                      .prompt_logprobs_told = logprobs_told_,
                                      .fingerprint = any_revision ? std::string() : fingerprint_,
                                      .max_model_len = any_revision ? 0 : max_model_len_};
  return request;
}

}  // namespace sluice::gateway
