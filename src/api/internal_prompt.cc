#include "api/internal_prompt.h"

#include <utility>

#include "base/json.h"
#include "base/limits.h"

namespace sluice::api {
namespace {

using completion::ChatPrompt;
using completion::Message;
using completion::TextPrompt;
using completion::TokenPrompt;
using completion::ToolCall;

enum PromptKind : uint8_t { kChat = 1, kText = 2, kTokens = 3 };

void write_call(WireWriter& out, const ToolCall& call) {
  out.bytes(1, call.id);
  out.bytes(2, call.name);
  out.bytes(3, call.arguments);
}

Result<ToolCall> read_call(std::string_view bytes) {
  ToolCall call;
  WireReader in(bytes, "tool call");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        call.id = in.text();
        break;
      case 2:
        call.name = in.text();
        break;
      case 3:
        call.arguments = in.text();
        break;
      default:
        in.unknown();
    }
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  return call;
}

void write_message(WireWriter& out, const Message& message) {
  out.bytes(1, message.role);
  if (message.content) out.set_bytes(2, *message.content);
  out.bytes(3, message.name);
  out.bytes(4, message.tool_call_id);
  for (const ToolCall& call : message.tool_calls) {
    out.message(5, [&](WireWriter& inner) { write_call(inner, call); });
  }
}

Result<Message> read_message(std::string_view bytes) {
  Message message;
  WireReader in(bytes, "message");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        message.role = in.text();
        break;
      case 2:
        message.content = in.text();
        break;
      case 3:
        message.name = in.text();
        break;
      case 4:
        message.tool_call_id = in.text();
        break;
      case 5: {
        auto call = read_call(in.bytes());
        if (!call) return std::unexpected(std::move(call).error());
        if (message.tool_calls.size() >= limits::kMaxContentParts) in.fail("comes too often");
        message.tool_calls.push_back(*std::move(call));
        break;
      }
      default:
        in.unknown();
    }
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  return message;
}

void write_chat(WireWriter& out, const ChatPrompt& chat) {
  for (const Message& message : chat.messages) {
    out.message(5, [&](WireWriter& inner) { write_message(inner, message); });
  }
  out.flag(6, !chat.add_generation_prompt);
  out.flag(7, chat.continue_final_message);
  if (!chat.template_arguments.empty()) out.bytes(8, to_json(chat.template_arguments));
}

Outcome read_chat_field(WireReader& in, ChatPrompt& chat) {
  switch (in.field()) {
    case 5: {
      SLUICE_ASSIGN_OR_RETURN(auto message, read_message(in.bytes()));
      if (chat.messages.size() >= limits::kMaxMessages) in.fail("comes too often");
      chat.messages.push_back(std::move(message));
      break;
    }
    case 6:
      chat.add_generation_prompt = !in.flag();
      break;
    case 7:
      chat.continue_final_message = in.flag();
      break;
    case 8: {
      const std::string_view text = in.bytes();
      if (in.failed()) break;
      SLUICE_ASSIGN_OR_RETURN(auto value, parse_json(text, {.max_bytes = limits::kMaxBodyBytes}));
      if (!value.is_object()) {
        in.fail("must be a JSON object");
        break;
      }
      chat.template_arguments = std::move(value.get_object());
      break;
    }
    default:
      in.unknown();
  }
  return {};
}

struct PromptParts {
  uint64_t kind = 0;
  bool saw[3] = {};  // fields of a chat, a text, of tokens
  ChatPrompt chat;
  TextPrompt text;
  TokenPrompt tokens;
};

Result<completion::Prompt> assemble(PromptParts parts) {
  for (size_t i = 0; i < 3; ++i) {
    if (parts.saw[i] && parts.kind != i + 1) {
      return invalid("prompt: it holds fields of another kind than it is");
    }
  }
  switch (parts.kind) {
    case kChat:
      if (parts.chat.messages.empty()) return invalid("prompt: a chat needs at least one message");
      return std::move(parts.chat);
    case kText:
      return std::move(parts.text);
    case kTokens:
      return std::move(parts.tokens);
    default:
      return invalid("prompt: its kind must be 1 (chat), 2 (text) or 3 (tokens)");
  }
}

}  // namespace

void write_prompt(WireWriter& out, const completion::Prompt& prompt) {
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) {
    out.uint(1, kChat);
    write_chat(out, *chat);
  } else if (const auto* text = std::get_if<TextPrompt>(&prompt)) {
    out.uint(1, kText);
    out.bytes(2, text->text);
    out.flag(3, !text->add_special_tokens);
  } else {
    out.uint(1, kTokens);
    out.ids(4, std::get<TokenPrompt>(prompt).tokens);
  }
}

Result<completion::Prompt> read_prompt(std::string_view bytes) {
  PromptParts parts;
  WireReader in(bytes, "prompt");
  while (in.next()) {
    switch (in.field()) {
      case 1:
        parts.kind = in.uint_up_to(kTokens);
        break;
      case 2:
        parts.saw[kText - 1] = true;
        parts.text.text = in.text();
        break;
      case 3:
        parts.saw[kText - 1] = true;
        parts.text.add_special_tokens = !in.flag();
        break;
      case 4:
        parts.saw[kTokens - 1] = true;
        in.ids(parts.tokens.tokens);
        break;
      default:
        parts.saw[kChat - 1] = true;
        SLUICE_RETURN_IF_ERROR(read_chat_field(in, parts.chat));
    }
  }
  SLUICE_RETURN_IF_ERROR(in.outcome());
  return assemble(std::move(parts));
}

}  // namespace sluice::api
