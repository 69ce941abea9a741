#include "api/anthropic_response.h"

#include <fmt/format.h>

#include <iterator>

#include "api/json_text.h"

namespace sluice::api {
namespace {

using completion::FinishReason;
using completion::StopReason;
using completion::Usage;

std::string_view stop_name(FinishReason finish, const StopReason& reason, bool to_context_end) {
  if (finish == FinishReason::kLength) {
    return to_context_end ? "model_context_window_exceeded" : "max_tokens";
  }
  return std::holds_alternative<std::string>(reason) ? "stop_sequence" : "end_turn";
}

// "stop_reason" and "stop_sequence".
void append_stop(std::string& out, FinishReason finish, const StopReason& reason,
                 bool to_context_end) {
  fmt::format_to(std::back_inserter(out), R"("stop_reason":"{}","stop_sequence":)",
                 stop_name(finish, reason, to_context_end));
  const auto* text = std::get_if<std::string>(&reason);
  if (text != nullptr && finish == FinishReason::kStop) {
    append_json_string(out, *text);
  } else {
    out += "null";
  }
  out += R"(,"stop_details":null,"container":null)";
}

void append_usage(std::string& out, const Usage& usage) {
  fmt::format_to(std::back_inserter(out),
                 R"({{"input_tokens":{},"cache_creation_input_tokens":0,)"
                 R"("cache_read_input_tokens":{},"output_tokens":{}}})",
                 usage.prompt_tokens - usage.cached_tokens, usage.cached_tokens,
                 usage.completion_tokens);
}

// A message up to its content.
std::string message_start(const MessageHead& head) {
  std::string out = R"({"id":)";
  append_json_string(out, head.id);
  out += R"(,"type":"message","role":"assistant","model":)";
  append_json_string(out, head.model);
  out += R"(,"content":[)";
  return out;
}

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
    case 405:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    case 504:
      return "timeout_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

}  // namespace

std::string message_body(const MessageHead& head, const completion::Answer& answer) {
  const completion::AnsweredChoice& choice = answer.choices.at(0);
  std::string out = message_start(head);
  if (!choice.text.empty()) {
    out += R"({"type":"text","text":)";
    append_json_string(out, choice.text);
    out += R"(,"citations":null})";
  }
  out += "],";
  append_stop(out, choice.finish, choice.stop_reason, head.to_context_end);
  out += R"(,"usage":)";
  append_usage(out, answer.usage);
  out += '}';
  return out;
}

std::string count_tokens_body(size_t tokens) {
  return fmt::format(R"({{"input_tokens":{}}})", tokens);
}

std::vector<NamedEvent> MessageEvents::start(int prompt_tokens) const {
  std::string out = R"({"type":"message_start","message":)" + message_start(head_);
  out +=
      R"(],"stop_reason":null,"stop_sequence":null,"stop_details":null,"container":null,"usage":)";
  append_usage(out, {.prompt_tokens = prompt_tokens, .completion_tokens = 0, .cached_tokens = 0});
  out += "}}";
  return {{"message_start", std::move(out)}};
}

std::vector<NamedEvent> MessageEvents::delta(const completion::Delta& delta) {
  if (delta.finish) {
    finish_ = *delta.finish;
    stop_reason_ = delta.stop_reason;
  }
  std::vector<NamedEvent> events;
  if (delta.text.empty()) return events;
  if (!in_block_) {
    in_block_ = true;
    events.push_back({"content_block_start",
                      R"({"type":"content_block_start","index":0,)"
                      R"("content_block":{"type":"text","text":"","citations":null}})"});
    events.push_back({"ping", R"({"type":"ping"})"});
  }
  std::string out =
      R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":)";
  append_json_string(out, delta.text);
  out += "}}";
  events.push_back({"content_block_delta", std::move(out)});
  return events;
}

std::vector<NamedEvent> MessageEvents::done(const Usage& usage) {
  std::vector<NamedEvent> events;
  if (in_block_) {
    events.push_back({"content_block_stop", R"({"type":"content_block_stop","index":0})"});
  }
  std::string out = R"({"type":"message_delta","delta":{)";
  append_stop(out, finish_, stop_reason_, head_.to_context_end);
  out += R"(},"usage":)";
  append_usage(out, usage);
  out += '}';
  events.push_back({"message_delta", std::move(out)});
  events.push_back({"message_stop", R"({"type":"message_stop"})"});
  return events;
}

std::string anthropic_error_body(int http_status, std::string_view message,
                                 std::string_view request_id) {
  std::string out = R"({"type":"error","error":{"type":")";
  out += error_type(http_status);
  out += R"(","message":)";
  append_json_string(out, lossy_utf8(message));
  out += R"(},"request_id":)";
  append_json_string(out, request_id);
  out += '}';
  return out;
}

}  // namespace sluice::api
