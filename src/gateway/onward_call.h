// OnwardCall: a client's request on its way to a server of any make. Where the server speaks
// Anthropic's Messages API and a chat completion was asked for, it is asked for a message, and what
// it answers is told as OpenAI's answer, event by event (api/chat_as_message.h).
//
// The loop of the client that it is sent by.
#pragma once

#include <optional>
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

  // `path`: what the client asked for; `base`: the server's URL and what stands before each path.
  // A request of the Messages API itself goes on as it is. Refused: what cannot be asked there.
  static Result<OnwardCall> to_messages(net::ClientRequest request, std::string_view path,
                                        const std::string& base, const Clock& clock);

  void set_timeout(Duration timeout) { request_.timeout = timeout; }
  // As HttpClient::request().
  net::ClientCall send(net::HttpClient& client, net::ClientCallbacks told) &&;

 private:
  net::ClientRequest request_;
  std::optional<api::MessageRequest> message_;  // none: it goes on as it is; its body is moved away
  int64_t created_ = 0;
};

}  // namespace sluice::gateway
