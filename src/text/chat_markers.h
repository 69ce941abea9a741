// Which token spellings are marks of a chat format rather than text. Pure functions.
#pragma once

#include <string_view>

namespace sluice::text {

// "<|…|>", "<｜…｜>", "<start_of_turn>", "[INST]" and their kind: text of a caller must not spell
// one, whatever type the file gives it.
bool is_chat_marker(std::string_view piece);

// Marks that end a turn or a text. Some files type them as ordinary tokens.
bool is_end_marker(std::string_view piece);

}  // namespace sluice::text
