// Anthropic's Messages API: request bodies → completion::Request.
//
// Versions 2023-06-01 and 2026-10-21 of the protocol, which differ here in one thing: the newer has
// no temperature, top_p and top_k. They are taken under both.
//
// Text only. What the protocol has and this server has not (tools, images, documents, thinking, …)
// is refused by name, and so is a field that the protocol does not have, as Anthropic does.
#pragma once

#include <string_view>

#include "api/fields.h"
#include "base/status.h"
#include "completion/backend.h"
#include "completion/request.h"

namespace sluice::api {

struct MessagesCall {
  completion::Request request;
  bool stream = false;
};

// POST /v1/messages. A conversation that ends with an assistant's message is continued there.
Result<MessagesCall> parse_messages_request(const json::object& body);

// POST /v1/messages/count_tokens: the same conversation, without an answer.
Result<completion::TokenizeRequest> parse_count_tokens_request(const json::object& body);

// The anthropic-version header: absent (empty) or one of the two.
Outcome check_anthropic_version(std::string_view header);

}  // namespace sluice::api
