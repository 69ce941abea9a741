// completion::ResponseSink → HTTP: an SSE stream or one JSON body.
#pragma once

#include <memory>

#include "api/openai_request.h"
#include "api/openai_response.h"
#include "completion/backend.h"
#include "net/server.h"

namespace sluice::endpoint {

// Streams chunks as they come. The stream begins with the first delta, so that an early failure
// still gets its own status; begin() starts it at once.
class StreamSink : public completion::ResponseSink {
 public:
  StreamSink(std::shared_ptr<net::Responder> responder, api::AnswerHead head,
             const api::GenerateCall& call);

  void begin();
  void on_start(completion::PromptInfo info) override;
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) override;
  void on_delta(completion::Delta delta) override;
  void on_done(const completion::Usage& usage) override;
  void on_error(const Status& status) override;

 private:
  void send_event(const std::string& data);

  const std::shared_ptr<net::Responder> responder_;
  const api::StreamOptions options_;
  const bool needs_fingerprint_;
  api::ChunkWriter writer_;
  std::vector<api::CollectedPrompt> prompts_;
  completion::Usage so_far_;
  bool started_ = false;
};

// Collects all choices and answers once.
class CollectSink : public completion::ResponseSink {
 public:
  CollectSink(std::shared_ptr<net::Responder> responder, api::AnswerHead head,
              api::GenerateCall call);

  void on_start(completion::PromptInfo info) override;
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) override;
  void on_delta(completion::Delta delta) override;
  void on_done(const completion::Usage& usage) override;
  void on_error(const Status& status) override;

 private:
  const std::shared_ptr<net::Responder> responder_;
  api::AnswerHead head_;
  const api::GenerateCall call_;
  std::vector<api::CollectedPrompt> prompts_;
  std::vector<api::CollectedChoice> choices_;
};

// An error in OpenAI's shape, with Retry-After where trying again helps.
net::HttpResponse error_response(const Status& status);
net::HttpResponse json_response(std::string body, int status = 200);

}  // namespace sluice::endpoint
