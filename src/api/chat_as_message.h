// An OpenAI chat completion asked of a server that speaks Anthropic's Messages API, and that
// server's answer as OpenAI's: JSON text to JSON text. The other way round than anthropic_request
// and anthropic_response, which are for a server that speaks it.
//
// Pure, but for MessageChunks, which has one owner. Fuzz target: chat_as_message_fuzz.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace sluice::api {

// What a chat asks for that names no maximum of tokens, which the Messages API must be given.
inline constexpr int64_t kMessageMaxTokens = 4096;

// The request. What the other API cannot do, and would change the answer's form or be missed (n,
// logprobs, response_format, penalties, audio, …), is refused by name; hints (seed,
// service_tier, reasoning_effort, …) are left out.
struct MessageRequest {
  std::string model;           // that was asked for
  std::string rest;            // of the body: what stands behind the model, up to the end
  bool include_usage = false;  // stream_options

  std::string body(std::string_view for_model) const;
};
Result<MessageRequest> chat_as_message(std::string_view chat);

// A whole answer. Failures: what came is no message.
Result<std::string> message_as_chat(std::string_view message, int64_t created);

// An error answer: {"error":{"message","type","param","code"}}, whatever came.
std::string message_error_as_chat(int http_status, std::string_view body);
// 529 ("overloaded") is nobody else's: 503.
int status_as_chat(int http_status);

// A stream's events, one after the other, as chunks.
class MessageChunks {
 public:
  MessageChunks(bool include_usage, int64_t created)
      : include_usage_(include_usage), created_(created) {}

  // The data of the chunks that an event's data makes: JSON texts, at the end "[DONE]". A failure
  // ends the stream: an error event (its message), or what is no event of this protocol.
  Result<std::vector<std::string>> event(std::string_view data);

  // The message ended as it should.
  bool done() const { return done_; }

 private:
  std::string chunk(json::array choices, const json::object* usage) const;
  std::string delta_chunk(json::object delta) const;
  std::string arguments_chunk(std::string_view text);
  void count(const json::object& of);
  std::vector<std::string> block_start(const json::object& event);
  std::vector<std::string> block_delta(const json::object& event);
  std::vector<std::string> block_stop();
  std::vector<std::string> message_stop();

  const bool include_usage_;
  const int64_t created_;
  std::string id_;
  std::string model_;
  std::string finish_ = "stop";
  int64_t prompt_tokens_ = 0;
  int64_t cached_tokens_ = 0;
  int64_t completion_tokens_ = 0;
  bool in_tool_ = false;  // the content block that is open is a tool's
  bool has_arguments_ = false;
  int tools_ = 0;
  bool started_ = false;
  bool done_ = false;
};

}  // namespace sluice::api
