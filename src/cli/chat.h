// `sluice chat`: a conversation with a served model in the terminal.
#pragma once

#include <optional>
#include <string>

namespace sluice::cli {

struct ChatOptions {
  std::string url = "http://127.0.0.1:8000";
  std::string api_key;
  std::string model;
  std::string system;
  std::string prompt;  // asked once, without a conversation, when not empty
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int> max_tokens;
  std::string output = "text";  // or "json", with a prompt
};

int run_chat(const ChatOptions& options);

}  // namespace sluice::cli
