#include "text/chat_markers.h"

#include <algorithm>
#include <array>

namespace sluice::text {
namespace {

constexpr std::array<std::string_view, 12> kNamed = {
    "<start_of_turn>", "<end_of_turn>",      "[INST]",
    "[/INST]",         "[SYSTEM_PROMPT]",    "[/SYSTEM_PROMPT]",
    "[TOOL_CALLS]",    "[AVAILABLE_TOOLS]",  "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[/AVAILABLE_TOOLS]", "<end_of_utterance>"};

constexpr std::array<std::string_view, 14> kEnds = {
    "<|eot_id|>",    "<|eom_id|>",     "<|im_end|>",         "<|end|>",
    "<end_of_turn>", "<|endoftext|>",  "<|end_of_text|>",    "<EOT>",
    "<|EOT|>",       "_<EOT>",         "<end_of_utterance>", "<｜end▁of▁sentence｜>",
    "<|return|>",    "<|endofprompt|>"};

}  // namespace

bool is_chat_marker(std::string_view piece) {
  const auto within = [&](std::string_view open, std::string_view close) {
    return piece.size() > open.size() + close.size() && piece.starts_with(open) &&
           piece.ends_with(close);
  };
  return within("<|", "|>") || within("<｜", "｜>") ||
         std::ranges::find(kNamed, piece) != kNamed.end();
}

bool is_end_marker(std::string_view piece) {
  return std::ranges::find(kEnds, piece) != kEnds.end();
}

}  // namespace sluice::text
