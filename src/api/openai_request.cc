#include "api/openai_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "api/openai_fields.h"
#include "base/limits.h"

namespace sluice::api {
namespace {

using completion::ChatPrompt;
using completion::Message;
using completion::Prompt;
using completion::TextPrompt;
using completion::TokenPrompt;

constexpr int kDefaultCompletionTokens = 16;  // OpenAI's default of /v1/completions

// The text of a message: a string, or an array of text parts.
Result<std::optional<std::string>> read_content(const Fields& fields) {
  const json::value* content = fields.find("content");
  if (content == nullptr) return std::nullopt;
  if (content->is_string()) return std::string(content->get_string());
  if (!content->is_array()) {
    return std::unexpected(
        fields.mistyped("content", "a string or an array of text parts", *content));
  }
  SLUICE_ASSIGN_OR_RETURN(const json::array* parts,
                          fields.array("content", limits::kMaxContentParts));
  std::string text;
  for (size_t i = 0; i < parts->size(); ++i) {
    const std::string path = fmt::format("{}[{}]", fields.path("content"), i);
    if (!(*parts)[i].is_object()) {
      return invalid(fmt::format("'{}' must be an object with 'type' and 'text', not {}", path,
                                 json_kind((*parts)[i])),
                     path);
    }
    const Fields part((*parts)[i].get_object(), path + ".");
    SLUICE_ASSIGN_OR_RETURN(const auto type, part.string("type", 64));
    SLUICE_ASSIGN_OR_RETURN(const auto piece, part.string("text", limits::kMaxBodyBytes));
    if (!type || *type != "text" || !piece) {
      return invalid(
          fmt::format("'{}' must be a text part ({{\"type\":\"text\",\"text\":…}}); this "
                      "server takes no images, audio or files",
                      path),
          path);
    }
    text += *piece;
  }
  return text;
}

Result<std::vector<completion::ToolCall>> read_tool_calls(const Fields& fields) {
  std::vector<completion::ToolCall> calls;
  SLUICE_ASSIGN_OR_RETURN(const json::array* items, fields.array("tool_calls", 128));
  if (items == nullptr) return calls;
  for (size_t i = 0; i < items->size(); ++i) {
    const std::string path = fmt::format("{}[{}]", fields.path("tool_calls"), i);
    const json::object* item = (*items)[i].if_object();
    if (item == nullptr) return invalid("'" + path + "' must be an object", path);
    const Fields call(*item, path + ".");
    SLUICE_ASSIGN_OR_RETURN(const json::object* function, call.object("function"));
    if (function == nullptr) return invalid("'" + path + ".function' is missing", path);
    const Fields details(*function, path + ".function.");
    SLUICE_ASSIGN_OR_RETURN(auto name, details.string("name", 256));
    SLUICE_ASSIGN_OR_RETURN(auto arguments, details.string("arguments", limits::kMaxBodyBytes));
    SLUICE_ASSIGN_OR_RETURN(auto id, call.string("id", 256));
    if (!name) return invalid("'" + path + ".function.name' is missing", path);
    calls.push_back({id.value_or(""), *std::move(name), arguments.value_or("{}")});
  }
  return calls;
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
  constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant",
                                                      "tool"};
  if (!role || std::ranges::find(kRoles, *role) == kRoles.end()) {
    return invalid(fmt::format("'{}role' must be system, developer, user, assistant or tool{}",
                               fields.path(""), role ? "" : "; it is missing"),
                   fields.path("role"));
  }
  Message message;
  message.role = *role == "developer" ? "system" : *role;
  SLUICE_ASSIGN_OR_RETURN(message.content, read_content(fields));
  SLUICE_ASSIGN_OR_RETURN(message.tool_calls, read_tool_calls(fields));
  SLUICE_ASSIGN_OR_RETURN(auto name, fields.string("name", 256));
  SLUICE_ASSIGN_OR_RETURN(auto tool_call_id, fields.string("tool_call_id", 256));
  message.name = name.value_or("");
  message.tool_call_id = tool_call_id.value_or("");
  if (!message.content && message.tool_calls.empty()) {
    return invalid(
        fmt::format("'{}' is missing: a {} message needs content", fields.path("content"), *role),
        fields.path("content"));
  }
  return message;
}

Result<ChatPrompt> read_chat_prompt(const Fields& fields) {
  ChatPrompt prompt;
  SLUICE_ASSIGN_OR_RETURN(const json::array* messages,
                          fields.array("messages", limits::kMaxMessages));
  if (messages == nullptr || messages->empty()) {
    return invalid("'messages' must be an array of at least one message", "messages");
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    SLUICE_ASSIGN_OR_RETURN(auto message,
                            read_message((*messages)[i], fmt::format("messages[{}]", i)));
    prompt.messages.push_back(std::move(message));
  }
  SLUICE_ASSIGN_OR_RETURN(const auto add, fields.boolean("add_generation_prompt"));
  SLUICE_ASSIGN_OR_RETURN(const auto go_on, fields.boolean("continue_final_message"));
  prompt.continue_final_message = go_on.value_or(false);
  prompt.add_generation_prompt = add.value_or(!prompt.continue_final_message);
  if (prompt.continue_final_message && prompt.add_generation_prompt) {
    return invalid("'continue_final_message' and 'add_generation_prompt' exclude each other",
                   "continue_final_message");
  }
  SLUICE_ASSIGN_OR_RETURN(const json::object* arguments, fields.object("chat_template_kwargs"));
  if (arguments != nullptr) prompt.template_arguments = *arguments;
  return prompt;
}

// /v1/completions: a string, strings, token ids, or lists of token ids.
Result<std::vector<Prompt>> read_prompts(const Fields& fields, bool add_special) {
  constexpr std::string_view kExpected =
      "a string, an array of strings, an array of token ids or an array of such arrays";
  const json::value* value = fields.find("prompt");
  if (value == nullptr) {
    return invalid(fmt::format("'prompt' is missing: it must be {}", kExpected), "prompt");
  }
  if (value->is_string()) {
    return std::vector<Prompt>{TextPrompt{std::string(value->get_string()), add_special}};
  }
  if (!value->is_array()) return std::unexpected(fields.mistyped("prompt", kExpected, *value));
  const json::array& items = value->get_array();
  if (items.empty()) return invalid("'prompt' must not be an empty array", "prompt");
  if (items[0].is_number()) {
    SLUICE_ASSIGN_OR_RETURN(auto ids, read_token_ids(items, "prompt"));
    return std::vector<Prompt>{TokenPrompt{std::move(ids)}};
  }
  if (items.size() > limits::kMaxPrompts) {
    return invalid(fmt::format("'prompt' must have at most {} prompts, not {}", limits::kMaxPrompts,
                               items.size()),
                   "prompt");
  }
  std::vector<Prompt> prompts;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].is_string()) {
      prompts.emplace_back(TextPrompt{std::string(items[i].get_string()), add_special});
    } else if (items[i].is_array()) {
      SLUICE_ASSIGN_OR_RETURN(auto ids,
                              read_token_ids(items[i].get_array(), fmt::format("prompt[{}]", i)));
      prompts.emplace_back(TokenPrompt{std::move(ids)});
    } else {
      return std::unexpected(fields.mistyped(fmt::format("prompt[{}]", i), kExpected, items[i]));
    }
  }
  return prompts;
}

}  // namespace

Result<GenerateCall> parse_chat_request(const json::object& body) {
  const Fields fields(body);
  SLUICE_RETURN_IF_ERROR(refuse_unoffered(fields, Dialect::kChat));
  GenerateCall call;
  SLUICE_RETURN_IF_ERROR(read_common(fields, call));
  SLUICE_ASSIGN_OR_RETURN(auto prompt, read_chat_prompt(fields));
  call.request.prompts.emplace_back(std::move(prompt));

  completion::Sampling& sampling = call.request.sampling;
  SLUICE_ASSIGN_OR_RETURN(const auto newer, fields.integer("max_completion_tokens", kTokenCount));
  if (newer) sampling.max_tokens = static_cast<int>(*newer);
  SLUICE_ASSIGN_OR_RETURN(const auto logprobs, fields.boolean("logprobs"));
  SLUICE_ASSIGN_OR_RETURN(const auto top,
                          fields.integer("top_logprobs", {0, limits::kMaxTopLogprobs}));
  if (top && !logprobs.value_or(false)) {
    return invalid("'top_logprobs' needs 'logprobs': true", "top_logprobs");
  }
  call.logprobs = logprobs.value_or(false);
  if (call.logprobs) sampling.logprobs = static_cast<int>(top.value_or(0));
  SLUICE_ASSIGN_OR_RETURN(const auto echo, fields.boolean("echo"));
  if (echo.value_or(false)) {
    return invalid("'echo' is offered on /v1/completions only", "echo");
  }
  return call;
}

Result<GenerateCall> parse_completion_request(const json::object& body) {
  const Fields fields(body);
  SLUICE_RETURN_IF_ERROR(refuse_unoffered(fields, Dialect::kCompletion));
  GenerateCall call;
  SLUICE_RETURN_IF_ERROR(read_common(fields, call));
  SLUICE_ASSIGN_OR_RETURN(const auto add_special, fields.boolean("add_special_tokens"));
  SLUICE_ASSIGN_OR_RETURN(call.request.prompts, read_prompts(fields, add_special.value_or(true)));

  completion::Sampling& sampling = call.request.sampling;
  if (!sampling.max_tokens) sampling.max_tokens = kDefaultCompletionTokens;
  SLUICE_ASSIGN_OR_RETURN(const auto logprobs,
                          fields.integer("logprobs", {0, limits::kMaxTopLogprobs}));
  call.logprobs = logprobs.has_value();
  if (logprobs) sampling.logprobs = static_cast<int>(*logprobs);
  SLUICE_ASSIGN_OR_RETURN(const auto echo, fields.boolean("echo"));
  call.request.echo = echo.value_or(false);
  if (call.request.echo && logprobs) sampling.prompt_logprobs = sampling.logprobs;
  const size_t choices =
      call.request.prompts.size() * static_cast<size_t>(call.request.choices_per_prompt);
  if (choices > limits::kMaxPrompts) {
    return invalid(
        fmt::format("prompts times 'n' must be at most {}, not {}", limits::kMaxPrompts, choices),
        "n");
  }
  return call;
}

Result<completion::TokenizeRequest> parse_tokenize_request(const json::object& body) {
  const Fields fields(body);
  completion::TokenizeRequest request;
  SLUICE_ASSIGN_OR_RETURN(const auto model, fields.string("model", kMaxModelName));
  request.model = model.value_or("");
  SLUICE_ASSIGN_OR_RETURN(const auto pieces, fields.boolean("return_token_strs"));
  request.with_pieces = pieces.value_or(false);
  if (fields.find("messages") != nullptr) {
    SLUICE_ASSIGN_OR_RETURN(request.prompt, read_chat_prompt(fields));
    return request;
  }
  SLUICE_ASSIGN_OR_RETURN(auto text, fields.string("prompt", limits::kMaxTokenizeBytes));
  if (!text) return invalid("'prompt' (a string) or 'messages' is missing", "prompt");
  SLUICE_ASSIGN_OR_RETURN(const auto add_special, fields.boolean("add_special_tokens"));
  request.prompt = TextPrompt{*std::move(text), add_special.value_or(true)};
  return request;
}

Result<DetokenizeCall> parse_detokenize_request(const json::object& body) {
  const Fields fields(body);
  DetokenizeCall call;
  SLUICE_ASSIGN_OR_RETURN(const auto model, fields.string("model", kMaxModelName));
  call.model = model.value_or("");
  if (fields.find("tokens") == nullptr) {
    return invalid("'tokens' is missing: it must be an array of token ids", "tokens");
  }
  SLUICE_ASSIGN_OR_RETURN(call.tokens, fields.token_ids("tokens", limits::kMaxTokenizeBytes));
  return call;
}

}  // namespace sluice::api
