// OnwardCall: a client's request on its way to a server of any make. Where the server speaks
// Anthropic's Messages API and a chat completion was asked for, it is asked for a message, and what
// it answers is told as OpenAI's answer, event by event (api/chat_as_message.h).
//
// The loop of the client that it is sent by.
#pragma once

#include <string>
#include <string_view>

#include "api/chat_as_message.h"
#include "base/clock.h"
#include "base/status.h"
#include "net/client.h"

namespace sluice::gateway {

class OnwardCall {
 public:
  explicit OnwardCall(net::ClientRequest request) : request_(std::move(request)) {}

  // To a server that speaks the Messages API. A request of that API goes on as it is; a chat is
  // asked as the message that it was made into, of `model`, at the server's `base` URL; anything
  // else is refused.
  static bool is_chat(std::string_view path);
  static Result<OnwardCall> to_messages(net::ClientRequest request, std::string_view path);
  static OnwardCall chat_to_messages(net::ClientRequest request, const api::MessageRequest& message,
                                     std::string_view model, const std::string& base,
                                     const Clock& clock);

  void set_timeout(Duration timeout) { request_.timeout = timeout; }
  // As HttpClient::request().
  net::ClientCall send(net::HttpClient& client, net::ClientCallbacks told) &&;

 private:
  net::ClientRequest request_;
  bool is_message_ = false;  // of a chat; else it goes on as it is
  bool include_usage_ = false;
  int64_t created_ = 0;
};

}  // namespace sluice::gateway
