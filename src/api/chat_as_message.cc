#include "api/chat_as_message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "api/fields.h"
#include "base/json.h"

namespace sluice::api {
namespace {

constexpr JsonLimits kBody{.max_bytes = 64u << 20};
constexpr size_t kMaxMessages = 100'000;
constexpr size_t kMaxParts = 10'000;
constexpr size_t kMaxTools = 1024;
constexpr size_t kMaxText = 64u << 20;
constexpr size_t kMaxName = 512;

std::unexpected<Status> unoffered(std::string_view field, std::string_view why) {
  return fail(Code::kInvalidArgument,
              fmt::format("'{}' is not offered by the model's provider, which speaks Anthropic's "
                          "Messages API: {}",
                          field, why),
              std::string(field), "unsupported_parameter");
}

std::string_view text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  const json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

// --- The request --------------------------------------------------------------------------------

// What would be missed if it were left out.
Outcome check_unoffered(const Fields& chat) {
  SLUICE_ASSIGN_OR_RETURN(const auto choices, chat.integer("n", {.min = 1, .max = 1024}));
  if (choices.value_or(1) != 1) return unoffered("n", "it answers once; ask again for another one");
  SLUICE_ASSIGN_OR_RETURN(const auto logprobs, chat.boolean("logprobs"));
  if (logprobs.value_or(false)) return unoffered("logprobs", "leave it out");
  for (const std::string_view name : {"frequency_penalty", "presence_penalty"}) {
    SLUICE_ASSIGN_OR_RETURN(const auto penalty, chat.number(name, {.min = -2, .max = 2}));
    if (penalty.value_or(0) != 0) return unoffered(name, "leave it out");
  }
  SLUICE_ASSIGN_OR_RETURN(const json::object* bias, chat.object("logit_bias"));
  if (bias != nullptr && !bias->empty()) return unoffered("logit_bias", "leave it out");
  SLUICE_ASSIGN_OR_RETURN(const json::object* format, chat.object("response_format"));
  if (format != nullptr) {
    const json::value* type = format->if_contains("type");
    if (type == nullptr || *type != "text") {
      return unoffered("response_format", "give a tool whose parameters are the schema instead");
    }
  }
  for (const std::string_view name : {"functions", "function_call", "audio", "prediction",
                                      "web_search_options", "top_logprobs"}) {
    if (chat.find(name) != nullptr) return unoffered(name, "leave it out");
  }
  return {};
}

json::object text_block(std::string_view text) { return {{"type", "text"}, {"text", text}}; }

// data:image/png;base64,…, or a URL that the provider fetches.
Result<json::object> image_block(const Fields& part) {
  SLUICE_ASSIGN_OR_RETURN(const json::object* image, part.object("image_url"));
  if (image == nullptr) {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' must be an object with a url", part.path("image_url")),
                part.path("image_url"));
  }
  const Fields fields(*image, part.path("image_url."));
  SLUICE_ASSIGN_OR_RETURN(const auto url, fields.string("url", kMaxText));
  const std::string_view given = url ? std::string_view(*url) : std::string_view();
  json::object source;
  constexpr std::string_view kCoded = ";base64,";
  if (given.starts_with("https://") || given.starts_with("http://")) {
    source = {{"type", "url"}, {"url", given}};
  } else if (const size_t end = given.find(kCoded);
             given.starts_with("data:image/") && end != std::string_view::npos) {
    source = {{"type", "base64"},
              {"media_type", given.substr(5, end - 5)},
              {"data", given.substr(end + kCoded.size())}};
  } else {
    return fail(
        Code::kInvalidArgument,
        fmt::format("'{}' must be an https URL or data:image/…;base64,…", fields.path("url")),
        fields.path("url"));
  }
  return json::object{{"type", "image"}, {"source", std::move(source)}};
}

// Blocks of a message's content, a text or a list of parts. Empty texts are no blocks: the API
// refuses them.
Result<json::array> content_blocks(const Fields& message, bool with_images) {
  const json::value* content = message.find("content");
  json::array blocks;
  if (content == nullptr) return blocks;
  if (const json::string* text = content->if_string()) {
    if (!text->empty()) blocks.push_back(text_block(*text));
    return blocks;
  }
  if (!content->is_array()) {
    return std::unexpected(message.mistyped("content", "a text or a list of parts", *content));
  }
  SLUICE_ASSIGN_OR_RETURN(const json::array* parts, message.array("content", kMaxParts));
  for (size_t i = 0; i < parts->size(); ++i) {
    const std::string path = fmt::format("{}[{}]", message.path("content"), i);
    const json::object* part = (*parts)[i].if_object();
    if (part == nullptr) {
      return fail(Code::kInvalidArgument, fmt::format("'{}' must be an object", path), path);
    }
    const Fields fields(*part, path + ".");
    SLUICE_ASSIGN_OR_RETURN(const auto type, fields.string("type", kMaxName));
    if (type == "text" || type == "refusal") {
      SLUICE_ASSIGN_OR_RETURN(const auto text, fields.string(*type, kMaxText));
      if (text && !text->empty()) blocks.push_back(text_block(*text));
    } else if (type == "image_url" && with_images) {
      SLUICE_ASSIGN_OR_RETURN(json::object image, image_block(fields));
      blocks.push_back(std::move(image));
    } else {
      return unoffered(path + ".type",
                       fmt::format("expected text{}, found {}", with_images ? " or image_url" : "",
                                   type ? "\"" + *type + "\"" : "none"));
    }
  }
  return blocks;
}

// What an assistant asked of tools.
Outcome add_tool_calls(const Fields& message, json::array& blocks) {
  SLUICE_ASSIGN_OR_RETURN(const json::array* calls, message.array("tool_calls", kMaxTools));
  for (size_t i = 0; calls != nullptr && i < calls->size(); ++i) {
    const std::string path = fmt::format("{}[{}]", message.path("tool_calls"), i);
    const json::object* call = (*calls)[i].if_object();
    const json::value* function = call == nullptr ? nullptr : call->if_contains("function");
    if (function == nullptr || !function->is_object()) {
      return fail(Code::kInvalidArgument,
                  fmt::format("'{}' must be an object with id and function", path), path);
    }
    const Fields named(function->get_object(), path + ".function.");
    SLUICE_ASSIGN_OR_RETURN(const auto id, Fields(*call, path + ".").string("id", kMaxName));
    SLUICE_ASSIGN_OR_RETURN(const auto name, named.string("name", kMaxName));
    SLUICE_ASSIGN_OR_RETURN(const auto arguments, named.string("arguments", kMaxText));
    if (!id || !name) {
      return fail(Code::kInvalidArgument, fmt::format("'{}' needs an id and a name", path), path);
    }
    json::value input = json::object();
    if (arguments && !arguments->empty()) {
      auto parsed = parse_json(*arguments, kBody);
      if (!parsed || !parsed->is_object()) {
        return fail(Code::kInvalidArgument,
                    fmt::format("'{}' must be the text of a JSON object", named.path("arguments")),
                    named.path("arguments"));
      }
      input = *std::move(parsed);
    }
    blocks.push_back(json::object{
        {"type", "tool_use"}, {"id", *id}, {"name", *name}, {"input", std::move(input)}});
  }
  return {};
}

// Messages with roles by turns: what follows on one of its own role joins it, as the results of
// several tools must.
class Conversation {
 public:
  Outcome add(const json::object& given, std::string path) {
    const Fields message(given, std::move(path));
    SLUICE_ASSIGN_OR_RETURN(const auto role, message.string("role", kMaxName));
    if (role == "system" || role == "developer") return add_system(message);
    if (role == "user") {
      SLUICE_ASSIGN_OR_RETURN(json::array blocks, content_blocks(message, true));
      return join("user", std::move(blocks));
    }
    if (role == "assistant") {
      SLUICE_ASSIGN_OR_RETURN(json::array blocks, content_blocks(message, false));
      SLUICE_RETURN_IF_ERROR(add_tool_calls(message, blocks));
      return join("assistant", std::move(blocks));
    }
    if (role == "tool") return add_result(message);
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' must be system, developer, user, assistant or tool, not {}",
                            message.path("role"), role ? "\"" + *role + "\"" : "absent"),
                message.path("role"));
  }

  json::array take_messages() { return std::move(messages_); }
  const std::string& system() const { return system_; }

 private:
  Outcome add_system(const Fields& message) {
    SLUICE_ASSIGN_OR_RETURN(const json::array blocks, content_blocks(message, false));
    for (const json::value& block : blocks) {
      if (!system_.empty()) system_ += "\n\n";
      system_ += std::string_view(block.get_object().at("text").get_string());
    }
    return {};
  }

  Outcome add_result(const Fields& message) {
    SLUICE_ASSIGN_OR_RETURN(const auto id, message.string("tool_call_id", kMaxName));
    if (!id) {
      return fail(Code::kInvalidArgument,
                  fmt::format("'{}' is required of a tool's message", message.path("tool_call_id")),
                  message.path("tool_call_id"));
    }
    SLUICE_ASSIGN_OR_RETURN(json::array blocks, content_blocks(message, true));
    json::object result{{"type", "tool_result"}, {"tool_use_id", *id}};
    if (!blocks.empty()) result["content"] = std::move(blocks);
    return join("user", json::array{std::move(result)});
  }

  Outcome join(std::string_view role, json::array blocks) {
    if (blocks.empty()) return {};
    if (messages_.empty() || text_of(messages_.back().get_object(), "role") != role) {
      messages_.push_back(json::object{{"role", role}, {"content", json::array()}});
    }
    json::array& content = messages_.back().get_object().at("content").get_array();
    for (json::value& block : blocks) content.push_back(std::move(block));
    return {};
  }

  std::string system_;
  json::array messages_;
};

Outcome add_messages(const Fields& chat, json::object& out) {
  SLUICE_ASSIGN_OR_RETURN(const json::array* messages, chat.array("messages", kMaxMessages));
  Conversation conversation;
  for (size_t i = 0; messages != nullptr && i < messages->size(); ++i) {
    const std::string path = fmt::format("messages[{}]", i);
    const json::object* message = (*messages)[i].if_object();
    if (message == nullptr) {
      return fail(Code::kInvalidArgument, fmt::format("'{}' must be an object", path), path);
    }
    SLUICE_RETURN_IF_ERROR(conversation.add(*message, path + "."));
  }
  json::array turns = conversation.take_messages();
  if (turns.empty()) {
    return fail(Code::kInvalidArgument,
                "'messages' must hold a message of a user or an assistant that is not empty",
                "messages");
  }
  if (!conversation.system().empty()) out["system"] = conversation.system();
  out["messages"] = std::move(turns);
  return {};
}

Outcome add_tools(const Fields& chat, json::object& out) {
  SLUICE_ASSIGN_OR_RETURN(const json::array* tools, chat.array("tools", kMaxTools));
  json::array list;
  for (size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    const json::object* tool = (*tools)[i].if_object();
    const json::value* function = tool == nullptr ? nullptr : tool->if_contains("function");
    if (function == nullptr || !function->is_object()) {
      return unoffered(path, "expected a tool of type function");
    }
    const Fields fields(function->get_object(), path + ".function.");
    SLUICE_ASSIGN_OR_RETURN(const auto name, fields.string("name", kMaxName));
    if (!name) {
      return fail(Code::kInvalidArgument, fmt::format("'{}' is required", fields.path("name")),
                  fields.path("name"));
    }
    SLUICE_ASSIGN_OR_RETURN(const auto description, fields.string("description", kMaxText));
    SLUICE_ASSIGN_OR_RETURN(const json::object* parameters, fields.object("parameters"));
    json::object made{{"name", *name}};
    if (description) made["description"] = *description;
    made["input_schema"] =
        parameters == nullptr ? json::object{{"type", "object"}} : json::object(*parameters);
    list.push_back(std::move(made));
  }
  if (!list.empty()) out["tools"] = std::move(list);
  return {};
}

Outcome add_tool_choice(const Fields& chat, json::object& out) {
  const json::value* given = chat.find("tool_choice");
  json::object choice;
  if (given != nullptr) {
    const json::object* object = given->if_object();
    const json::value* function = object == nullptr ? nullptr : object->if_contains("function");
    const json::value* name = function == nullptr || !function->is_object()
                                  ? nullptr
                                  : function->get_object().if_contains("name");
    if (*given == "auto" || *given == "none") {
      choice["type"] = *given;
    } else if (*given == "required") {
      choice["type"] = "any";
    } else if (name != nullptr && name->is_string()) {
      choice = {{"type", "tool"}, {"name", *name}};
    } else {
      return std::unexpected(
          chat.mistyped("tool_choice", "auto, none, required or a function's name", *given));
    }
  }
  SLUICE_ASSIGN_OR_RETURN(const auto parallel, chat.boolean("parallel_tool_calls"));
  if (parallel == false && out.contains("tools")) {
    if (choice.empty()) choice["type"] = "auto";
    if (choice.at("type") != "none") choice["disable_parallel_tool_use"] = true;
  }
  if (!choice.empty()) out["tool_choice"] = std::move(choice);
  return {};
}

Outcome add_sampling(const Fields& chat, json::object& out) {
  constexpr int64_t kMost = int64_t{1} << 31;
  int64_t max_tokens = 0;
  for (const std::string_view name : {"max_tokens", "max_completion_tokens"}) {
    SLUICE_ASSIGN_OR_RETURN(const auto most, chat.integer(name, {.min = 1, .max = kMost}));
    max_tokens = std::max(max_tokens, most.value_or(0));
  }
  out["max_tokens"] = max_tokens > 0 ? max_tokens : kMessageMaxTokens;
  SLUICE_ASSIGN_OR_RETURN(const auto temperature, chat.number("temperature", {.min = 0, .max = 2}));
  if (temperature && *temperature > 1) return unoffered("temperature", "it takes 0 to 1");
  if (temperature) out["temperature"] = *temperature;
  SLUICE_ASSIGN_OR_RETURN(const auto top_p, chat.number("top_p", {.min = 0, .max = 1}));
  if (top_p) out["top_p"] = *top_p;
  SLUICE_ASSIGN_OR_RETURN(const auto top_k, chat.integer("top_k", {.min = 0, .max = kMost}));
  if (top_k) out["top_k"] = *top_k;
  SLUICE_ASSIGN_OR_RETURN(const auto stop, chat.strings("stop", 64, 4096));
  if (!stop.empty()) out["stop_sequences"] = json::value_from(stop);
  SLUICE_ASSIGN_OR_RETURN(const auto user, chat.string("user", 4096));
  if (user) out["metadata"] = json::object{{"user_id", *user}};
  return {};
}

// --- The answer ---------------------------------------------------------------------------------

const json::object* object_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_object();
}

// 0 where there is none.
int64_t count_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr || !value->is_int64() ? 0 : std::max<int64_t>(0, value->get_int64());
}

std::string_view finish_reason(std::string_view stop_reason) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kKnown = {
      {{"max_tokens", "length"},
       {"model_context_window_exceeded", "length"},
       {"tool_use", "tool_calls"},
       {"refusal", "content_filter"}}};
  for (const auto& [theirs, ours] : kKnown) {
    if (stop_reason == theirs) return ours;
  }
  return "stop";
}

// All of the prompt, whatever of it a cache gave.
int64_t prompt_tokens_of(const json::object& usage) {
  return count_of(usage, "input_tokens") + count_of(usage, "cache_read_input_tokens") +
         count_of(usage, "cache_creation_input_tokens");
}

json::object usage_of(int64_t prompt, int64_t cached, int64_t completion) {
  json::object usage{{"prompt_tokens", prompt},
                     {"completion_tokens", completion},
                     {"total_tokens", prompt + completion}};
  usage["prompt_tokens_details"] = json::object{{"cached_tokens", cached}};
  return usage;
}

json::object tool_call(const json::object& block) {
  const json::value* input = block.if_contains("input");
  return {
      {"id", text_of(block, "id")},
      {"type", "function"},
      {"function", json::object{{"name", text_of(block, "name")},
                                {"arguments", input == nullptr ? "{}" : json::serialize(*input)}}}};
}

std::unexpected<Status> no_message(std::string_view why) {
  return fail(Code::kUnavailable, fmt::format("the provider's answer is no message: {}", why));
}

}  // namespace

Result<MessageRequest> chat_as_message(std::string_view chat) {
  SLUICE_ASSIGN_OR_RETURN(const json::value body, parse_json(chat, kBody));
  if (!body.is_object()) {
    return fail(Code::kInvalidArgument,
                fmt::format("the body must be a JSON object, not {}", json_kind(body)));
  }
  const Fields fields(body.get_object());
  SLUICE_RETURN_IF_ERROR(check_unoffered(fields));
  json::object out;
  SLUICE_ASSIGN_OR_RETURN(const auto model, fields.string("model", kMaxName));
  if (!model) return fail(Code::kInvalidArgument, "'model' is required", "model");
  SLUICE_RETURN_IF_ERROR(add_sampling(fields, out));
  SLUICE_RETURN_IF_ERROR(add_messages(fields, out));
  SLUICE_RETURN_IF_ERROR(add_tools(fields, out));
  SLUICE_RETURN_IF_ERROR(add_tool_choice(fields, out));
  MessageRequest made;
  made.model = *model;
  SLUICE_ASSIGN_OR_RETURN(const auto stream, fields.boolean("stream"));
  if (stream.value_or(false)) out["stream"] = true;
  SLUICE_ASSIGN_OR_RETURN(const json::object* options, fields.object("stream_options"));
  if (options != nullptr) {
    SLUICE_ASSIGN_OR_RETURN(const auto usage,
                            Fields(*options, "stream_options.").boolean("include_usage"));
    made.include_usage = usage.value_or(false);
  }
  made.rest = json::serialize(out).substr(1);  // max_tokens at least
  return made;
}

std::string MessageRequest::body(std::string_view for_model) const {
  return fmt::format(R"({{"model":{},{})", json::serialize(json::string(for_model)), rest);
}

Result<std::string> message_as_chat(std::string_view message, int64_t created) {
  const auto parsed = parse_json(message, kBody);
  if (!parsed) return no_message(parsed.error().message());
  const json::object* given = parsed->if_object();
  const json::value* content = given == nullptr ? nullptr : given->if_contains("content");
  if (content == nullptr || !content->is_array()) return no_message("it has no content");
  std::string text, thoughts;
  json::array calls;
  for (const json::value& each : content->get_array()) {
    const json::object* block = each.if_object();
    if (block == nullptr) return no_message("a block of its content is no object");
    const std::string_view type = text_of(*block, "type");
    if (type == "text") text += text_of(*block, "text");
    if (type == "thinking") thoughts += text_of(*block, "thinking");
    if (type == "tool_use") calls.push_back(tool_call(*block));
  }
  json::object answer{{"role", "assistant"}};
  if (text.empty() && !calls.empty()) {
    answer["content"] = nullptr;
  } else {
    answer["content"] = text;
  }
  if (!thoughts.empty()) answer["reasoning_content"] = thoughts;
  if (!calls.empty()) answer["tool_calls"] = std::move(calls);
  const json::object* usage = object_of(*given, "usage");
  const json::object none;
  const json::object& used = usage == nullptr ? none : *usage;
  json::object out{{"id", text_of(*given, "id")},
                   {"object", "chat.completion"},
                   {"created", created},
                   {"model", text_of(*given, "model")}};
  out["choices"] =
      json::array{json::object{{"index", 0},
                               {"message", std::move(answer)},
                               {"logprobs", nullptr},
                               {"finish_reason", finish_reason(text_of(*given, "stop_reason"))}}};
  out["usage"] = usage_of(prompt_tokens_of(used), count_of(used, "cache_read_input_tokens"),
                          count_of(used, "output_tokens"));
  return json::serialize(out);
}

int status_as_chat(int http_status) { return http_status == 529 ? 503 : http_status; }

std::string message_error_as_chat(int http_status, std::string_view body) {
  std::string message = fmt::format("the provider answered {}", http_status);
  std::string type = http_status < 500 ? "invalid_request_error" : "server_error";
  const auto parsed = parse_json(body);
  const json::object* given = parsed ? parsed->if_object() : nullptr;
  if (const json::object* error = given == nullptr ? nullptr : object_of(*given, "error")) {
    if (!text_of(*error, "message").empty()) message = text_of(*error, "message");
    if (!text_of(*error, "type").empty()) type = text_of(*error, "type");
  }
  return json::serialize(json::object{
      {"error",
       json::object{{"message", message}, {"type", type}, {"param", nullptr}, {"code", nullptr}}}});
}

// --- A stream -----------------------------------------------------------------------------------

std::string MessageChunks::chunk(json::array choices, const json::object* usage) const {
  json::object out{{"id", id_},
                   {"object", "chat.completion.chunk"},
                   {"created", created_},
                   {"model", model_},
                   {"choices", std::move(choices)}};
  if (usage != nullptr) out["usage"] = *usage;
  return json::serialize(out);
}

std::string MessageChunks::delta_chunk(json::object delta) const {
  return chunk({json::object{{"index", 0},
                             {"delta", std::move(delta)},
                             {"logprobs", nullptr},
                             {"finish_reason", nullptr}}},
               nullptr);
}

std::string MessageChunks::arguments_chunk(std::string_view text) {
  has_arguments_ = has_arguments_ || !text.empty();
  json::object call{{"index", tools_ - 1}, {"function", json::object{{"arguments", text}}}};
  return delta_chunk({{"tool_calls", json::array{std::move(call)}}});
}

// The start may tell of the prompt, and the end anew.
void MessageChunks::count(const json::object& of) {
  const json::object* usage = object_of(of, "usage");
  if (usage == nullptr) return;
  prompt_tokens_ = std::max(prompt_tokens_, prompt_tokens_of(*usage));
  cached_tokens_ = std::max(cached_tokens_, count_of(*usage, "cache_read_input_tokens"));
  completion_tokens_ = std::max(completion_tokens_, count_of(*usage, "output_tokens"));
}

std::vector<std::string> MessageChunks::block_start(const json::object& event) {
  const json::object* block = object_of(event, "content_block");
  in_tool_ = block != nullptr && text_of(*block, "type") == "tool_use";
  has_arguments_ = false;
  if (!in_tool_) return {};
  json::object function{{"name", text_of(*block, "name")}, {"arguments", ""}};
  json::object call{{"index", tools_++},
                    {"id", text_of(*block, "id")},
                    {"type", "function"},
                    {"function", std::move(function)}};
  return {delta_chunk({{"tool_calls", json::array{std::move(call)}}})};
}

std::vector<std::string> MessageChunks::block_delta(const json::object& event) {
  const json::object* delta = object_of(event, "delta");
  if (delta == nullptr) return {};
  const std::string_view kind = text_of(*delta, "type");
  if (kind == "text_delta") return {delta_chunk({{"content", text_of(*delta, "text")}})};
  if (kind == "thinking_delta") {
    return {delta_chunk({{"reasoning_content", text_of(*delta, "thinking")}})};
  }
  if (kind == "input_json_delta" && in_tool_) {
    return {arguments_chunk(text_of(*delta, "partial_json"))};
  }
  return {};
}

// No arguments are an object without members.
std::vector<std::string> MessageChunks::block_stop() {
  const bool is_bare = std::exchange(in_tool_, false) && !has_arguments_;
  return is_bare ? std::vector{arguments_chunk("{}")} : std::vector<std::string>();
}

// Who did not ask for usage gets it all the same, beside the end: limits go by it.
std::vector<std::string> MessageChunks::message_stop() {
  done_ = true;
  const json::object usage = usage_of(prompt_tokens_, cached_tokens_, completion_tokens_);
  json::object end{
      {"index", 0}, {"delta", json::object()}, {"logprobs", nullptr}, {"finish_reason", finish_}};
  std::vector<std::string> out{chunk({std::move(end)}, include_usage_ ? nullptr : &usage)};
  if (include_usage_) out.push_back(chunk({}, &usage));
  out.emplace_back("[DONE]");
  return out;
}

Result<std::vector<std::string>> MessageChunks::event(std::string_view data) {
  using Chunks = std::vector<std::string>;
  const auto parsed = parse_json(data, kBody);
  if (!parsed || !parsed->is_object()) return no_message("an event's data is no JSON object");
  const json::object& event = parsed->get_object();
  const std::string_view type = text_of(event, "type");
  if (type == "error") {
    const json::object* error = object_of(event, "error");
    const std::string_view message = error == nullptr ? "" : text_of(*error, "message");
    return fail(Code::kUnavailable, fmt::format("the provider ended the stream: {}",
                                                message.empty() ? "no reason given" : message));
  }
  if (done_ || type == "ping") return Chunks();
  if (type == "message_start") {
    const json::object* message = object_of(event, "message");
    if (message == nullptr || started_) return no_message("its stream does not begin with one");
    started_ = true;
    id_ = text_of(*message, "id");
    model_ = text_of(*message, "model");
    count(*message);
    return Chunks{delta_chunk({{"role", "assistant"}, {"content", ""}})};
  }
  if (!started_) return no_message("its stream does not begin with one");
  if (type == "content_block_start") return block_start(event);
  if (type == "content_block_delta") return block_delta(event);
  if (type == "content_block_stop") return block_stop();
  if (type == "message_stop") return message_stop();
  if (type == "message_delta") {
    const json::object* delta = object_of(event, "delta");
    if (delta != nullptr) finish_ = finish_reason(text_of(*delta, "stop_reason"));
    count(event);
  }
  return Chunks();
}

}  // namespace sluice::api
