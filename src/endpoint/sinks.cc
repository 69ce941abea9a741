#include "endpoint/sinks.h"

#include <iterator>
#include <utility>

#include "net/sse.h"

namespace sluice::endpoint {
namespace {

std::vector<api::CollectedPrompt> collect_prompts(completion::PromptInfo info) {
  std::vector<api::CollectedPrompt> prompts(info.tokens.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    prompts[i].tokens = std::move(info.tokens[i]);
    if (i < info.text.size()) prompts[i].text = std::move(info.text[i]);
  }
  return prompts;
}

}  // namespace

net::HttpResponse json_response(std::string body, int status) {
  return {status, {{"Content-Type", "application/json"}}, std::move(body)};
}

net::HttpResponse error_response(const Status& status) {
  net::HttpResponse response = json_response(api::error_body(status), http_status(status.code()));
  if (status.code() == Code::kResourceExhausted || status.code() == Code::kUnavailable) {
    response.headers.emplace_back("Retry-After", "1");
  }
  if (status.code() == Code::kUnauthenticated) {
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
  }
  return response;
}

StreamSink::StreamSink(std::shared_ptr<net::Responder> responder, api::AnswerHead head,
                       const api::GenerateCall& call)
    : responder_(std::move(responder)),
      options_(call.stream),
      needs_fingerprint_(head.fingerprint.empty()),
      writer_(std::move(head), call) {}

void StreamSink::begin() {
  if (started_) return;
  started_ = true;
  responder_->start(200, {{"Content-Type", "text/event-stream; charset=utf-8"},
                          {"Cache-Control", "no-cache"},
                          {"X-Accel-Buffering", "no"}});
}

void StreamSink::send_event(const std::string& data) { responder_->write(net::sse_event(data)); }

void StreamSink::on_start(completion::PromptInfo info) {
  for (const auto& tokens : info.tokens) so_far_.prompt_tokens += static_cast<int>(tokens.size());
  if (needs_fingerprint_) writer_.set_fingerprint(std::move(info.fingerprint));
  prompts_ = collect_prompts(std::move(info));
  writer_.set_prompts(prompts_);
}

void StreamSink::on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) {
  prompts_[static_cast<size_t>(prompt)].logprobs = std::move(entries);
  writer_.set_prompts(prompts_);
}

void StreamSink::on_delta(completion::Delta delta) {
  begin();
  so_far_.completion_tokens += static_cast<int>(delta.tokens.size());
  send_event(writer_.delta(delta, options_.continuous_usage ? &so_far_ : nullptr));
}

void StreamSink::on_done(const completion::Usage& usage) {
  begin();
  if (options_.include_usage) send_event(writer_.usage(usage));
  send_event("[DONE]");
  responder_->finish();
}

void StreamSink::on_error(const Status& status) {
  if (!started_) {
    responder_->send(error_response(status));
    return;
  }
  send_event(api::error_body(status));
  send_event("[DONE]");
  responder_->finish();
}

CollectSink::CollectSink(std::shared_ptr<net::Responder> responder, api::AnswerHead head,
                         api::GenerateCall call)
    : responder_(std::move(responder)),
      head_(std::move(head)),
      call_(std::move(call)),
      choices_(call_.request.prompts.size() *
               static_cast<size_t>(call_.request.choices_per_prompt)) {}

void CollectSink::on_start(completion::PromptInfo info) {
  if (head_.fingerprint.empty()) head_.fingerprint = std::move(info.fingerprint);
  prompts_ = collect_prompts(std::move(info));
}

void CollectSink::on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) {
  prompts_[static_cast<size_t>(prompt)].logprobs = std::move(entries);
}

void CollectSink::on_delta(completion::Delta delta) {
  api::CollectedChoice& choice = choices_[static_cast<size_t>(delta.choice)];
  choice.text += delta.text;
  choice.tokens.insert(choice.tokens.end(), delta.tokens.begin(), delta.tokens.end());
  choice.logprobs.insert(choice.logprobs.end(), std::make_move_iterator(delta.logprobs.begin()),
                         std::make_move_iterator(delta.logprobs.end()));
  if (delta.finish) {
    choice.finish = *delta.finish;
    choice.stop_reason = delta.stop_reason;
  }
}

void CollectSink::on_done(const completion::Usage& usage) {
  responder_->send(json_response(api::answer_body(head_, call_, prompts_, choices_, usage)));
}

void CollectSink::on_error(const Status& status) { responder_->send(error_response(status)); }

}  // namespace sluice::endpoint
