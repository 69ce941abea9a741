#include "api/anthropic_request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/limits.h"

namespace sluice::api {
namespace {

using completion::ChatPrompt;
using completion::Message;

constexpr size_t kMaxModelName = 512;
constexpr size_t kMaxUserId = 256;

constexpr std::array<std::string_view, 12> kMessagesFields = {
    "model",       "messages", "max_tokens", "system",   "stop_sequences", "stream",
    "temperature", "top_p",    "top_k",      "metadata", "service_tier",   "cache_control"};
constexpr std::array<std::string_view, 4> kCountFields = {"model", "messages", "system",
                                                          "cache_control"};
// Of the protocol, but not offered: let pass where they ask for nothing.
constexpr std::array<std::string_view, 11> kUnoffered = {
    "tools",         "tool_choice",        "thinking",     "mcp_servers",
    "container",     "context_management", "diagnostics",  "speed",
    "output_config", "output_format",      "inference_geo"};
constexpr std::array<std::string_view, 2> kVersions = {"2023-06-01", "2026-10-21"};

bool holds(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

std::unexpected<Status> unoffered(const std::string& what, const std::string& field) {
  return fail(Code::kInvalidArgument, what + " by this server; leave it out", field,
              "unsupported_parameter");
}

// [] and {}, {"type":"none"} of tool_choice, {"type":"disabled"} of thinking and "standard" of
// speed ask for nothing.
bool asks_for_nothing(const json::value& value) {
  if (value.is_null()) return true;
  if (value.is_array()) return value.get_array().empty();
  const json::object* object = value.if_object();
  if (object == nullptr) return value == "standard";
  if (object->empty()) return true;
  const json::value* type = object->if_contains("type");
  return type != nullptr && (*type == "none" || *type == "disabled");
}

Outcome check_names(const json::object& body, std::span<const std::string_view> offered) {
  for (const auto& [key, value] : body) {
    const std::string name(key);
    if (holds(offered, name)) continue;
    if (holds(kUnoffered, name)) {
      if (asks_for_nothing(value)) continue;
      return unoffered(fmt::format("'{}' is not offered", name), name);
    }
    if (name.size() > 64) return invalid("a field has a name of more than 64 bytes");
    return invalid(fmt::format("'{}' is not a field of this route; leave it out", name), name);
  }
  return {};
}

// The text of one block {"type":"text","text":…}.
Result<std::string> read_block(const json::value& value, const std::string& path) {
  const json::object* object = value.if_object();
  if (object == nullptr) {
    return invalid(fmt::format("'{}' must be an object with 'type' and 'text', not {}", path,
                               json_kind(value)),
                   path);
  }
  const Fields block(*object, path + ".");
  SLUICE_ASSIGN_OR_RETURN(const auto type, block.string("type", 64));
  if (!type) return invalid(fmt::format("'{}' is missing", block.path("type")), block.path("type"));
  if (*type != "text") {
    return unoffered(fmt::format("'{}' is of type '{}'; only text is offered", path, *type), path);
  }
  SLUICE_ASSIGN_OR_RETURN(auto text, block.string("text", limits::kMaxBodyBytes));
  if (!text || text->empty()) {
    return invalid(fmt::format("'{}' must be a string that is not empty", block.path("text")),
                   block.path("text"));
  }
  return *std::move(text);
}

// A string, or an array of text blocks, which are joined. None when the field is absent.
Result<std::optional<std::string>> read_text(const Fields& fields, std::string_view name) {
  const json::value* value = fields.find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return std::string(value->get_string());
  if (!value->is_array()) {
    return std::unexpected(fields.mistyped(name, "a string or an array of text blocks", *value));
  }
  SLUICE_ASSIGN_OR_RETURN(const json::array* blocks, fields.array(name, limits::kMaxContentParts));
  std::string text;
  for (size_t i = 0; i < blocks->size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(const std::string piece,
                            read_block((*blocks)[i], fmt::format("{}[{}]", fields.path(name), i)));
    text += piece;
  }
  return text;
}

Result<Message> read_message(const json::value& value, const std::string& path) {
  const json::object* object = value.if_object();
  if (object == nullptr) {
    return invalid(fmt::format("'{}' must be an object with 'role' and 'content', not {}", path,
                               json_kind(value)),
                   path);
  }
  const Fields fields(*object, path + ".");
  SLUICE_ASSIGN_OR_RETURN(const auto role, fields.string("role", 64));
  if (!role || (*role != "user" && *role != "assistant" && *role != "system")) {
    return invalid(fmt::format("'{}' must be user, assistant or system", fields.path("role")),
                   fields.path("role"));
  }
  SLUICE_ASSIGN_OR_RETURN(auto content, read_text(fields, "content"));
  if (!content || content->empty()) {
    return invalid(fmt::format("'{}' is missing or empty", fields.path("content")),
                   fields.path("content"));
  }
  Message message;
  message.role = *role;
  message.content = std::move(content);
  return message;
}

// Turns of one role in a row are one turn to the model.
void append_turn(std::vector<Message>& messages, Message message) {
  if (!messages.empty() && messages.back().role == message.role) {
    *messages.back().content += "\n" + *message.content;
    return;
  }
  messages.push_back(std::move(message));
}

Result<ChatPrompt> read_conversation(const Fields& fields) {
  ChatPrompt prompt;
  SLUICE_ASSIGN_OR_RETURN(auto system, read_text(fields, "system"));
  if (system && !system->empty()) {
    Message message;
    message.role = "system";
    message.content = std::move(system);
    prompt.messages.push_back(std::move(message));
  }
  SLUICE_ASSIGN_OR_RETURN(const json::array* messages,
                          fields.array("messages", limits::kMaxMessages));
  if (messages == nullptr || messages->empty()) {
    return invalid("'messages' must be an array of at least one message", "messages");
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(auto message,
                            read_message((*messages)[i], fmt::format("messages[{}]", i)));
    append_turn(prompt.messages, std::move(message));
  }
  prompt.continue_final_message = prompt.messages.back().role == "assistant";
  prompt.add_generation_prompt = !prompt.continue_final_message;
  return prompt;
}

Outcome read_sampling(const Fields& fields, completion::Sampling& sampling) {
  SLUICE_ASSIGN_OR_RETURN(const auto max_tokens, fields.integer("max_tokens", {1, 0x7FFFFFFF}));
  if (!max_tokens) return invalid("'max_tokens' is missing: the longest answer", "max_tokens");
  sampling.max_tokens = static_cast<int>(*max_tokens);
  SLUICE_ASSIGN_OR_RETURN(sampling.temperature, fields.number("temperature", {0, 1}));
  SLUICE_ASSIGN_OR_RETURN(sampling.top_p, fields.number("top_p", {0, 1, true}));
  SLUICE_ASSIGN_OR_RETURN(const auto top_k, fields.integer("top_k", {0, 0x7FFFFFFF}));
  if (top_k) sampling.top_k = static_cast<int>(*top_k);
  const json::value* stops = fields.find("stop_sequences");
  if (stops != nullptr && !stops->is_array()) {
    return std::unexpected(fields.mistyped("stop_sequences", "an array of strings", *stops));
  }
  SLUICE_ASSIGN_OR_RETURN(sampling.stop, fields.strings("stop_sequences", limits::kMaxStopStrings,
                                                        limits::kMaxStopBytes));
  return {};
}

// Read only to be checked: nothing of it changes an answer.
Outcome check_ineffective(const Fields& fields) {
  SLUICE_ASSIGN_OR_RETURN(const json::object* metadata, fields.object("metadata"));
  if (metadata != nullptr) {
    SLUICE_RETURN_IF_ERROR(Fields(*metadata, "metadata.").string("user_id", kMaxUserId));
  }
  SLUICE_ASSIGN_OR_RETURN(const auto tier, fields.string("service_tier", 64));
  if (tier && *tier != "auto" && *tier != "standard_only") {
    return invalid("'service_tier' must be auto or standard_only", "service_tier");
  }
  SLUICE_RETURN_IF_ERROR(fields.object("cache_control"));
  return {};
}

}  // namespace

Result<MessagesCall> parse_messages_request(const json::object& body) {
  SLUICE_RETURN_IF_ERROR(check_names(body, kMessagesFields));
  const Fields fields(body);
  MessagesCall call;
  SLUICE_ASSIGN_OR_RETURN(const auto model, fields.string("model", kMaxModelName));
  call.request.model = model.value_or("");
  SLUICE_RETURN_IF_ERROR(read_sampling(fields, call.request.sampling));
  SLUICE_RETURN_IF_ERROR(check_ineffective(fields));
  SLUICE_ASSIGN_OR_RETURN(auto prompt, read_conversation(fields));
  call.request.prompts.emplace_back(std::move(prompt));
  SLUICE_ASSIGN_OR_RETURN(const auto stream, fields.boolean("stream"));
  call.stream = stream.value_or(false);
  return call;
}

Result<completion::TokenizeRequest> parse_count_tokens_request(const json::object& body) {
  SLUICE_RETURN_IF_ERROR(check_names(body, kCountFields));
  const Fields fields(body);
  completion::TokenizeRequest request;
  SLUICE_ASSIGN_OR_RETURN(const auto model, fields.string("model", kMaxModelName));
  request.model = model.value_or("");
  SLUICE_RETURN_IF_ERROR(fields.object("cache_control"));
  SLUICE_ASSIGN_OR_RETURN(request.prompt, read_conversation(fields));
  return request;
}

Outcome check_anthropic_version(std::string_view header) {
  if (header.empty() || holds(kVersions, header)) return {};
  return invalid(fmt::format("the anthropic-version header must be {} or absent",
                             fmt::join(kVersions, " or ")),
                 "anthropic-version");
}

}  // namespace sluice::api
