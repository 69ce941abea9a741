// OpenAI request bodies → completion::Request. Fields are OpenAI's, and vLLM's further sampling
// fields.
//
// Unknown fields are ignored, as OpenAI's clients send many that change nothing. A known field that
// asks for something not offered (tools, response_format, suffix, best_of, …) is refused by name.
#pragma once

#include <string_view>

#include "api/fields.h"
#include "base/status.h"
#include "completion/backend.h"
#include "completion/request.h"

namespace sluice::api {

// How the answer is to be sent; the rest is in the request.
struct StreamOptions {
  bool stream = false;
  bool include_usage = false;     // a last chunk with the usage
  bool continuous_usage = false;  // usage in every chunk
};

struct GenerateCall {
  completion::Request request;
  StreamOptions stream;
  bool logprobs = false;          // the answer carries log-probabilities
  bool return_token_ids = false;  // vLLM's return_token_ids
};

Result<GenerateCall> parse_chat_request(const json::object& body);
Result<GenerateCall> parse_completion_request(const json::object& body);

// vLLM's POST /tokenize (prompt or messages) and /detokenize.
Result<completion::TokenizeRequest> parse_tokenize_request(const json::object& body);

struct DetokenizeCall {
  std::string model;
  std::vector<int32_t> tokens;
};
Result<DetokenizeCall> parse_detokenize_request(const json::object& body);

}  // namespace sluice::api
