#include "completion/prompt_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace sluice::completion {
namespace {

// Arguments are an object for the template when they parse as one, else the text itself.
json::value arguments_value(const std::string& arguments) {
  auto parsed = parse_json(arguments);
  if (parsed && parsed->is_object()) return *std::move(parsed);
  return json::value(json::string(arguments));
}

json::value message_value(const Message& message) {
  json::object out;
  out["role"] = message.role;
  if (message.content) {
    out["content"] = *message.content;
  } else {
    out["content"] = nullptr;
  }
  if (!message.name.empty()) out["name"] = message.name;
  if (!message.tool_call_id.empty()) out["tool_call_id"] = message.tool_call_id;
  if (!message.tool_calls.empty()) {
    json::array calls;
    for (const ToolCall& call : message.tool_calls) {
      calls.push_back(
          {{"id", call.id},
           {"type", "function"},
           {"function", {{"name", call.name}, {"arguments", arguments_value(call.arguments)}}}});
    }
    out["tool_calls"] = std::move(calls);
  }
  return out;
}

Outcome check_arguments(const json::object& arguments) {
  constexpr std::array<std::string_view, 3> kReserved = {"messages", "tools",
                                                         "add_generation_prompt"};
  for (const auto& [key, value] : arguments) {
    const std::string_view name(key);
    if (std::ranges::find(kReserved, name) != kReserved.end() ||
        text::ChatTemplate::is_model_name(name)) {
      return invalid(fmt::format("'chat_template_kwargs' must not set '{}'", name),
                     "chat_template_kwargs");
    }
  }
  return {};
}

// Cuts the rendered prompt right behind the last message's text, so that the model goes on with it.
Outcome cut_behind(std::string_view last, std::vector<text::Segment>& segments) {
  while (!last.empty() && (last.back() == ' ' || last.back() == '\n')) last.remove_suffix(1);
  std::string all;
  for (const text::Segment& segment : segments) all += segment.text;
  const size_t at = all.rfind(last);
  if (at == std::string::npos) {
    return invalid("'continue_final_message': the chat template changes the last message's text",
                   "continue_final_message");
  }
  size_t left = at + last.size();
  std::vector<text::Segment> kept;
  for (text::Segment& segment : segments) {
    if (left == 0) break;
    if (segment.text.size() > left) segment.text.resize(left);
    left -= segment.text.size();
    kept.push_back(std::move(segment));
  }
  segments = std::move(kept);
  return {};
}

}  // namespace

Result<std::vector<text::Segment>> render_chat(const TextModel& model, const ChatPrompt& prompt,
                                               const Clock& clock) {
  SLUICE_RETURN_IF_ERROR(check_arguments(prompt.template_arguments));
  json::object inputs = prompt.template_arguments;
  json::array messages;
  for (const Message& message : prompt.messages) messages.push_back(message_value(message));
  inputs["messages"] = std::move(messages);
  inputs["tools"] = nullptr;
  inputs["add_generation_prompt"] = prompt.add_generation_prompt;
  inputs["bos_token"] = model.bos_text;
  inputs["eos_token"] = model.eos_text;
  SLUICE_ASSIGN_OR_RETURN(auto segments, model.chat_template->render(inputs, clock.unix_seconds()));
  if (prompt.continue_final_message) {
    const Message& last = prompt.messages.back();
    SLUICE_RETURN_IF_ERROR(cut_behind(last.content.value_or(""), segments));
  }
  return segments;
}

Result<std::vector<int32_t>> build_prompt(const TextModel& model, const Prompt& prompt,
                                          const Clock& clock) {
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) {
    SLUICE_ASSIGN_OR_RETURN(const auto segments, render_chat(model, *chat, clock));
    return model.tokenizer->encode(segments, text::SpecialTokens::kOmit);
  }
  if (const auto* text = std::get_if<TextPrompt>(&prompt)) {
    // A raw prompt is the caller's own: it may spell special tokens, as completion clients do.
    const auto special =
        text->add_special_tokens ? text::SpecialTokens::kAdd : text::SpecialTokens::kOmit;
    return model.tokenizer->encode(text->text, special, true);
  }
  return std::get<TokenPrompt>(prompt).tokens;
}

}  // namespace sluice::completion
