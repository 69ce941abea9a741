#include "completion/collector.h"

#include <iterator>
#include <utility>

namespace sluice::completion {

Collector::Collector(const Request& request, Done done) : done_(std::move(done)) {
  answer_.choices.resize(request.prompts.size() * static_cast<size_t>(request.choices_per_prompt));
}

void Collector::on_start(PromptInfo) {}

void Collector::on_prompt_logprobs(int, std::vector<LogprobEntry>) {}

void Collector::on_delta(Delta delta) {
  AnsweredChoice& choice = answer_.choices[static_cast<size_t>(delta.choice)];
  choice.text += delta.text;
  choice.tokens.insert(choice.tokens.end(), delta.tokens.begin(), delta.tokens.end());
  choice.logprobs.insert(choice.logprobs.end(), std::make_move_iterator(delta.logprobs.begin()),
                         std::make_move_iterator(delta.logprobs.end()));
  if (delta.finish) {
    choice.finish = *delta.finish;
    choice.stop_reason = delta.stop_reason;
  }
}

void Collector::on_done(const Usage& usage) {
  answer_.usage = usage;
  done_(std::move(answer_));
}

void Collector::on_error(const Status& status) { done_(std::unexpected(status)); }

}  // namespace sluice::completion
