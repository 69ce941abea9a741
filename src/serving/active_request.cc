#include "serving/active_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"

namespace sluice::serving {
namespace {

using completion::Delta;
using completion::FinishReason;

telemetry::Finish finish_label(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return telemetry::Finish::kStop;
    case FinishReason::kLength:
      return telemetry::Finish::kLength;
    case FinishReason::kAbort:
      return telemetry::Finish::kAbort;
    case FinishReason::kError:
      break;
  }
  return telemetry::Finish::kError;
}

FinishReason to_completion(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kStop:
      return FinishReason::kStop;
    case engine::FinishReason::kLength:
      return FinishReason::kLength;
    case engine::FinishReason::kCancelled:
    case engine::FinishReason::kDeadline:
      return FinishReason::kAbort;
    case engine::FinishReason::kNone:
    case engine::FinishReason::kError:
      break;
  }
  return FinishReason::kError;
}

}  // namespace

ActiveRequest::ActiveRequest(ActiveRequestSetup setup)
    : setup_(std::move(setup)), prompts_(setup_.prompts.size()), unfinished_(setup_.ids.size()) {
  const completion::Sampling& sampling = setup_.request.sampling;
  for (size_t i = 0; i < setup_.ids.size(); ++i) {
    choices_.push_back(
        {text::Detokenizer(*setup_.tokenizer,
                           {.skip_special = sampling.skip_special_tokens, .continues = true}),
         completion::StopStrings(sampling.stop, sampling.include_stop_text)});
  }
  for (const auto& prompt : setup_.prompts) {
    usage_.prompt_tokens += static_cast<int>(prompt.size());
  }
  span_ = RequestSpan::begin(setup_.tracer, setup_.request, setup_.arrived);
}

size_t ActiveRequest::index_of(engine::RequestId id) const {
  const auto at = std::ranges::find(setup_.ids, id);
  SLUICE_CHECK(at != setup_.ids.end(), "an output for another request");
  return static_cast<size_t>(at - setup_.ids.begin());
}

completion::LogprobEntry ActiveRequest::entry_of(const engine::TokenOutput& token) const {
  const auto described = [this](const engine::TokenLogprob& t) {
    return completion::TokenLogprob{t.token, std::string(setup_.tokenizer->token_bytes(t.token)),
                                    t.logprob, t.rank};
  };
  completion::LogprobEntry entry;
  if (token.logprob) entry.chosen = described(*token.logprob);
  for (const engine::TokenLogprob& top : token.top) entry.top.push_back(described(top));
  return entry;
}

Outcome ActiveRequest::replay() {
  if (!setup_.request.resume) return {};
  const completion::Resume& resume = *setup_.request.resume;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    prompts_[i].logprobs_told = resume.prompt_logprobs_told[i];
  }
  for (size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    const completion::ChoiceProgress& progress = resume.choices[i];
    if (progress.ended_after) {
      choice.ended = choice.engine_ended = true;
      usage_.completion_tokens += *progress.ended_after;
      --unfinished_;
      continue;
    }
    for (const int32_t token : progress.tokens) {
      if (!choice.stops.push(choice.detokenizer.push(token)).stop) continue;
      return invalid(fmt::format("resume: the tokens of choice {} reach a stop string", i),
                     "resume");
    }
    choice.generated = choice.replayed = static_cast<int>(progress.tokens.size());
    usage_.completion_tokens += choice.replayed;
  }
  return {};
}

void ActiveRequest::publish_prompt(size_t index, const engine::StepOutput& output) {
  const size_t prompt = index / static_cast<size_t>(setup_.request.choices_per_prompt);
  PromptState& state = prompts_[prompt];
  if (!state.counted && (!output.tokens.empty() || !output.prompt_logprobs.empty())) {
    state.counted = true;
    const auto length = static_cast<int>(setup_.prompts[prompt].size());
    const int cached = std::min(output.cached_tokens, length);
    usage_.cached_tokens += cached;
    setup_.metrics->cached_tokens.add(cached);
    setup_.metrics->prompt_length.observe(length);
  }
  const bool first = index % static_cast<size_t>(setup_.request.choices_per_prompt) == 0;
  if (first && setup_.request.sampling.prompt_logprobs >= 0 && !state.logprobs_told) {
    tell_prompt_logprobs(prompt, output);
  }
}

// Collects what the first choice's prefill yields, until every position but the first is there.
void ActiveRequest::tell_prompt_logprobs(size_t prompt, const engine::StepOutput& output) {
  PromptState& state = prompts_[prompt];
  for (const engine::TokenOutput& token : output.prompt_logprobs) {
    state.logprobs.push_back(entry_of(token));
  }
  const bool sampled = !output.tokens.empty() || output.finish == engine::FinishReason::kLength ||
                       output.finish == engine::FinishReason::kStop;
  if (state.logprobs.size() + 1 < setup_.prompts[prompt].size()) return;
  if (state.logprobs.empty() && !sampled) return;
  state.logprobs_told = true;
  setup_.sink->on_prompt_logprobs(static_cast<int>(prompt), std::move(state.logprobs));
}

void ActiveRequest::publish_tokens(Choice& choice, const engine::StepOutput& output, Delta& delta) {
  const telemetry::ServingMetrics& metrics = *setup_.metrics;
  for (const engine::TokenOutput& token : output.tokens) {
    if (choice.generated == choice.replayed) {
      choice.first_token = output.at;
      metrics.time_to_first_token.observe(to_seconds(output.at - setup_.arrived));
      metrics.queue_time.observe(to_seconds(output.scheduled - output.queued));
      metrics.prefill_time.observe(to_seconds(output.at - output.scheduled));
      if (span_) span_->first_token(output);
    } else {
      metrics.inter_token.observe(to_seconds(output.at - choice.last_token));
    }
    choice.last_token = output.at;
    ++choice.generated;
    ++usage_.completion_tokens;
    delta.tokens.push_back(token.token);
    if (setup_.request.sampling.logprobs >= 0) delta.logprobs.push_back(entry_of(token));
    completion::StopStrings::Piece piece = choice.stops.push(choice.detokenizer.push(token.token));
    delta.text += piece.text;
    if (piece.stop) {
      delta.finish = FinishReason::kStop;
      delta.stop_reason = setup_.request.sampling.stop[*piece.stop];
      return;
    }
  }
}

void ActiveRequest::end_choice(Choice& choice, const engine::StepOutput& output, Delta& delta) {
  completion::StopStrings::Piece piece = choice.stops.push(choice.detokenizer.finish());
  delta.text += piece.text;
  delta.finish = to_completion(output.finish);
  if (piece.stop) {
    delta.finish = FinishReason::kStop;
    delta.stop_reason = setup_.request.sampling.stop[*piece.stop];
    return;
  }
  delta.text += choice.stops.finish();
  const std::vector<int32_t>& asked = setup_.request.sampling.stop_tokens;
  if (output.stop_token && std::ranges::find(asked, *output.stop_token) != asked.end()) {
    delta.stop_reason = *output.stop_token;
  }
}

void ActiveRequest::observe_end(const Choice& choice, const engine::StepOutput& output,
                                FinishReason reason) {
  const telemetry::ServingMetrics& metrics = *setup_.metrics;
  metrics.finished(finish_label(reason));
  metrics.end_to_end.observe(to_seconds(output.at - setup_.arrived));
  metrics.generation_length.observe(choice.generated);
  const int fresh = choice.generated - choice.replayed;
  if (fresh == 0) return;
  metrics.decode_time.observe(to_seconds(choice.last_token - choice.first_token));
  metrics.inference_time.observe(to_seconds(choice.last_token - output.scheduled));
  if (fresh > 1) {
    metrics.time_per_output_token.observe(to_seconds(choice.last_token - choice.first_token) /
                                          (fresh - 1));
  }
}

bool ActiveRequest::publish(const engine::StepOutput& output) {
  const size_t index = index_of(output.id);
  Choice& choice = choices_[index];
  const bool engine_ends = output.finish != engine::FinishReason::kNone;
  choice.engine_ended = choice.engine_ended || engine_ends;
  if (choice.ended) return engine_ends;

  publish_prompt(index, output);
  Delta delta;
  delta.choice = static_cast<int>(index);
  publish_tokens(choice, output, delta);
  const bool stopped_by_text = delta.finish.has_value();
  if (!stopped_by_text && engine_ends) end_choice(choice, output, delta);

  if (output.finish == engine::FinishReason::kDeadline && !failure_) {
    failure_ = Status(Code::kDeadlineExceeded, "the request's time ran out before it was finished",
                      {}, "deadline");
  } else if (output.finish == engine::FinishReason::kError && !failure_) {
    failure_ = Status(output.error_code, output.error.empty() ? "the engine failed" : output.error);
  }
  const bool cut = failure_ || output.finish == engine::FinishReason::kCancelled;
  if (!cut && (!delta.text.empty() || delta.finish || !delta.tokens.empty())) {
    setup_.sink->on_delta(delta);
  }
  if (delta.finish) {
    choice.ended = true;
    --unfinished_;
    observe_end(choice, output, *delta.finish);
    if (span_) span_->choice_ended(*delta.finish);
    if (stopped_by_text && !engine_ends) setup_.cancel(output.id);
    finish_if_done(output);
  }
  return engine_ends;
}

void ActiveRequest::finish_if_done(const engine::StepOutput& output) {
  if (unfinished_ > 0) return;
  if (!failure_ && output.finish == engine::FinishReason::kCancelled) {
    failure_ = Status(Code::kCancelled, "the request was cancelled");
  }
  if (span_) span_->end(output.at, usage_, failure_ ? &*failure_ : nullptr);
  if (failure_) {
    setup_.sink->on_error(*failure_);
  } else {
    setup_.sink->on_done(usage_);
  }
}

}  // namespace sluice::serving
