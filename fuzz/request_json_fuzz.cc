// Request bodies of every protocol: any bytes either give a request or an error with a message.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/anthropic_request.h"
#include "api/kserve_request.h"
#include "api/oip_request.h"
#include "api/openai_request.h"
#include "base/check.h"

namespace {

template <typename T>
void check(const sluice::Result<T>& result) {
  if (!result) SLUICE_CHECK(!result.error().message().empty(), "an error says why");
}

void parse_openai(const sluice::json::object& body) {
  const auto chat = sluice::api::parse_chat_request(body);
  if (chat) SLUICE_CHECK(chat->request.prompts.size() == 1, "a chat has one prompt");
  const auto completion = sluice::api::parse_completion_request(body);
  if (completion) SLUICE_CHECK(!completion->request.prompts.empty(), "there is a prompt");
  check(sluice::api::parse_tokenize_request(body));
  check(sluice::api::parse_detokenize_request(body));
}

void parse_others(const sluice::json::object& body) {
  const auto message = sluice::api::parse_messages_request(body);
  check(message);
  if (message) SLUICE_CHECK(message->request.sampling.max_tokens > 0, "max_tokens is there");
  check(sluice::api::parse_count_tokens_request(body));
  const auto predict = sluice::api::parse_predict_request(body);
  check(predict);
  if (predict) SLUICE_CHECK(!predict->prompts.empty(), "there is an instance");
  check(sluice::api::parse_generate_request(body));
}

// The body's JSON ends at the last brace: what stands behind it is binary data.
void parse_infer(std::string_view bytes) {
  const size_t brace = bytes.rfind('}');
  for (const size_t json_bytes : {bytes.size(), brace == bytes.npos ? 0 : brace + 1}) {
    auto input = sluice::api::parse_infer_body(bytes, json_bytes);
    check(input);
    if (!input) continue;
    const auto call = sluice::api::make_infer_call(*std::move(input));
    check(call);
    if (!call) continue;
    int64_t elements = 1;
    for (const int64_t dimension : call->shape) elements *= dimension;
    SLUICE_CHECK(call->request.prompts.size() == static_cast<size_t>(elements),
                 "as many prompts as the shape says");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  parse_infer(bytes);
  const auto body = sluice::api::parse_body(bytes);
  check(body);
  if (!body) return 0;
  parse_openai(*body);
  parse_others(*body);
  return 0;
}
