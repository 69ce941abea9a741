// Chat completions asked of a server of Anthropic's Messages API, and what such a server answers:
// any bytes give an answer in OpenAI's words or an error with a message. A stream's events are
// lines.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/chat_as_message.h"
#include "base/check.h"
#include "base/json.h"

namespace {

void check_json(std::string_view text) {
  SLUICE_CHECK(sluice::parse_json(text, {.max_depth = 128}).has_value(), "it is JSON");
}

template <typename T>
bool is_good(const sluice::Result<T>& result) {
  if (!result) SLUICE_CHECK(!result.error().message().empty(), "an error says why");
  return result.has_value();
}

void read_events(std::string_view lines) {
  sluice::api::MessageChunks chunks(lines.size() % 2 == 0, 7);
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
    const auto made = chunks.event(line);
    if (!is_good(made)) return;
    for (const std::string& each : *made) {
      if (each != "[DONE]") check_json(each);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto asked = sluice::api::chat_as_message(bytes);
  if (is_good(asked)) check_json(asked->body(asked->model));
  const auto chat = sluice::api::message_as_chat(bytes, 7);
  if (is_good(chat)) check_json(*chat);
  check_json(sluice::api::message_error_as_chat(500, bytes));
  read_events(bytes);
  return 0;
}
