// completion:: answers → Anthropic's Messages API: bodies, stream events, errors.
//
// Usage as Anthropic counts it: input_tokens are those that no cache gave, and
// cache_read_input_tokens the others; at the start of a stream all count as input_tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "completion/collector.h"
#include "completion/request.h"

namespace sluice::api {

// What an answer repeats of its request.
struct MessageHead {
  std::string id;
  std::string model;
  bool to_context_end = false;  // max_tokens is more than the model's context holds
};

std::string message_body(const MessageHead& head, const completion::Answer& answer);
std::string count_tokens_body(size_t tokens);

struct NamedEvent {
  std::string_view name;
  std::string data;
};

// Writes the events of one streamed answer. One thread. The text block begins with the first text,
// so that an answer without text has none, streamed or not.
class MessageEvents {
 public:
  explicit MessageEvents(MessageHead head) : head_(std::move(head)) {}

  std::vector<NamedEvent> start(int prompt_tokens) const;
  std::vector<NamedEvent> delta(const completion::Delta& delta);
  std::vector<NamedEvent> done(const completion::Usage& usage);

 private:
  const MessageHead head_;
  bool in_block_ = false;
  completion::FinishReason finish_ = completion::FinishReason::kStop;
  completion::StopReason stop_reason_;
};

// {"type":"error","error":{"type","message"},"request_id"}. `type` follows the HTTP status.
std::string anthropic_error_body(int http_status, std::string_view message,
                                 std::string_view request_id);

}  // namespace sluice::api
