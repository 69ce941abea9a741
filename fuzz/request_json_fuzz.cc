// OpenAI request bodies: any bytes either give a request or an error with a message.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/openai_request.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto body = sluice::api::parse_body(bytes);
  if (!body) {
    SLUICE_CHECK(!body.error().message().empty(), "an error says why");
    return 0;
  }
  const auto chat = sluice::api::parse_chat_request(*body);
  if (chat) SLUICE_CHECK(chat->request.prompts.size() == 1, "a chat has one prompt");
  const auto completion = sluice::api::parse_completion_request(*body);
  if (completion) SLUICE_CHECK(!completion->request.prompts.empty(), "there is a prompt");
  (void)sluice::api::parse_tokenize_request(*body);
  (void)sluice::api::parse_detokenize_request(*body);
  return 0;
}
