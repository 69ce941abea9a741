// Prompts → token ids: chat template, special tokens, truncation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "completion/request.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sluice::completion {

// The text side of one model. Immutable; what it points to outlives it.
struct TextModel {
  const text::Tokenizer* tokenizer = nullptr;
  const text::ChatTemplate* chat_template = nullptr;
  std::string bos_text;  // as the template's bos_token and eos_token
  std::string eos_text;
};

// Callable from any thread; takes time in proportion to the prompt. Errors name the field at fault.
Result<std::vector<int32_t>> build_prompt(const TextModel& model, const Prompt& prompt,
                                          const Clock& clock);

// The segments that a conversation renders to, before tokenizing.
Result<std::vector<text::Segment>> render_chat(const TextModel& model, const ChatPrompt& prompt,
                                               const Clock& clock);

}  // namespace sluice::completion
