#include "gateway/paid_sink.h"

#include <utility>

namespace sluice::gateway {

void PaidSink::settle() { grant_->settle(used_, version_()); }

void PaidSink::on_start(completion::PromptInfo info) {
  used_.prompt = 0;
  for (const auto& tokens : info.tokens) used_.prompt += std::ssize(tokens);
  inner_->on_start(std::move(info));
}

void PaidSink::on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) {
  inner_->on_prompt_logprobs(prompt, std::move(entries));
}

void PaidSink::on_delta(completion::Delta delta) {
  used_.completion += std::ssize(delta.tokens);
  inner_->on_delta(std::move(delta));
}

// Settled before the client hears the end: its next request finds the account in order.
void PaidSink::on_done(const completion::Usage& usage) {
  used_ = {usage.prompt_tokens, usage.completion_tokens};
  settle();
  inner_->on_done(usage);
}

void PaidSink::on_error(const Status& status) {
  settle();
  inner_->on_error(status);
}

}  // namespace sluice::gateway
