#include "api/chat_as_message.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "base/json.h"

namespace sluice::api {
namespace {

json::value asked(std::string_view chat) {
  const auto made = chat_as_message(chat);
  EXPECT_TRUE(made) << (made ? "" : made.error().message());
  return made ? *parse_json(made->body(made->model)) : json::value();
}

std::string refused(std::string_view more) {
  const auto made = chat_as_message(R"({"model":"m","messages":[{"role":"user","content":"x"}],)" +
                                    std::string(more) + "}");
  EXPECT_FALSE(made) << more;
  return made ? "" : made.error().param();
}

TEST(ChatAsMessage, SaysAConversationInTheOtherWords) {
  const json::value body = asked(R"({
    "model": "claude", "temperature": 0.5, "top_p": 0.9, "stop": "END", "user": "u", "seed": 4,
    "max_completion_tokens": 70, "stream": true,
    "messages": [
      {"role": "system", "content": "Be brief."},
      {"role": "developer", "content": [{"type": "text", "text": "And kind."}]},
      {"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]},
      {"role": "assistant", "content": "A cat."},
      {"role": "user", "content": ""},
      {"role": "user", "content": "Sure?"}]})");
  EXPECT_EQ(body, *parse_json(R"({
    "model": "claude", "max_tokens": 70, "temperature": 0.5, "top_p": 0.9,
    "stop_sequences": ["END"], "metadata": {"user_id": "u"}, "system": "Be brief.\n\nAnd kind.",
    "messages": [
      {"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}]},
      {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
      {"role": "user", "content": [{"type": "text", "text": "Sure?"}]}],
    "stream": true})"));
}

TEST(ChatAsMessage, SaysToolsCallsAndTheirResults) {
  const json::value body = asked(R"({
    "model": "claude", "parallel_tool_calls": false,
    "tools": [{"type": "function", "function": {
      "name": "now", "description": "the time",
      "parameters": {"type": "object", "properties": {}}}},
      {"type": "function", "function": {"name": "bare"}}],
    "messages": [
      {"role": "user", "content": "When?"},
      {"role": "assistant", "content": null, "tool_calls": [
        {"id": "a", "type": "function",
         "function": {"name": "now", "arguments": "{\"zone\":\"UTC\"}"}},
        {"id": "b", "type": "function", "function": {"name": "bare", "arguments": ""}}]},
      {"role": "tool", "tool_call_id": "a", "content": "noon"},
      {"role": "tool", "tool_call_id": "b", "content": ""},
      {"role": "user", "content": "So?"}]})");
  EXPECT_EQ(body, *parse_json(R"({
    "model": "claude", "max_tokens": 4096,
    "messages": [
      {"role": "user", "content": [{"type": "text", "text": "When?"}]},
      {"role": "assistant", "content": [
        {"type": "tool_use", "id": "a", "name": "now", "input": {"zone": "UTC"}},
        {"type": "tool_use", "id": "b", "name": "bare", "input": {}}]},
      {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "noon"}]},
        {"type": "tool_result", "tool_use_id": "b"},
        {"type": "text", "text": "So?"}]}],
    "tools": [
      {"name": "now", "description": "the time",
       "input_schema": {"type": "object", "properties": {}}},
      {"name": "bare", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}})"));
  const auto choice = [](std::string_view given) {
    const json::value made =
        asked(R"({"model":"m","messages":[{"role":"user","content":"x"}],"tool_choice":)" +
              std::string(given) + "}");
    return json::serialize(made.at("tool_choice"));
  };
  EXPECT_EQ(choice(R"("required")"), R"({"type":"any"})");
  EXPECT_EQ(choice(R"("none")"), R"({"type":"none"})");
  EXPECT_EQ(choice(R"({"type":"function","function":{"name":"now"}})"),
            R"({"type":"tool","name":"now"})");
}

TEST(ChatAsMessage, RefusesByNameWhatWouldBeMissed) {
  EXPECT_EQ(refused(R"("n":2)"), "n");
  EXPECT_EQ(refused(R"("logprobs":true)"), "logprobs");
  EXPECT_EQ(refused(R"("presence_penalty":0.5)"), "presence_penalty");
  EXPECT_EQ(refused(R"("logit_bias":{"5":1})"), "logit_bias");
  EXPECT_EQ(refused(R"("response_format":{"type":"json_object"})"), "response_format");
  EXPECT_EQ(refused(R"("temperature":1.5)"), "temperature");
  EXPECT_EQ(refused(R"("functions":[])"), "functions");
  EXPECT_EQ(refused(R"("tools":[{"type":"web_search"}])"), "tools[0]");
  EXPECT_EQ(refused(R"("tool_choice":"any")"), "tool_choice");
  EXPECT_EQ(refused(R"("max_tokens":0)"), "max_tokens");
  asked(R"({"model":"m","messages":[{"role":"user","content":"x"}],"n":1,"logprobs":false,
            "presence_penalty":0,"response_format":{"type":"text"},"stop":null})");
}

TEST(ChatAsMessage, SaysWhereAConversationIsWrong) {
  const auto message = [](std::string_view given) {
    const auto made = chat_as_message(R"({"model":"m","messages":[)" + std::string(given) + "]}");
    EXPECT_FALSE(made) << given;
    return made ? "" : made.error().param();
  };
  EXPECT_EQ(message(""), "messages");
  EXPECT_EQ(message(R"({"role":"system","content":"only this"})"), "messages");
  EXPECT_EQ(message("5"), "messages[0]");
  EXPECT_EQ(message(R"({"role":"function","content":"x"})"), "messages[0].role");
  EXPECT_EQ(message(R"({"role":"user","content":5})"), "messages[0].content");
  EXPECT_EQ(message(R"({"role":"user","content":[{"type":"input_audio"}]})"),
            "messages[0].content[0].type");
  EXPECT_EQ(message(R"({"role":"user","content":[{"type":"image_url","image_url":{"url":"/a"}}]})"),
            "messages[0].content[0].image_url.url");
  EXPECT_EQ(message(R"({"role":"tool","content":"x"})"), "messages[0].tool_call_id");
  EXPECT_EQ(message(R"({"role":"assistant","tool_calls":[{"id":"a","function":
                       {"name":"f","arguments":"[1]"}}]})"),
            "messages[0].tool_calls[0].function.arguments");
  EXPECT_FALSE(chat_as_message(R"({"messages":[{"role":"user","content":"x"}]})"));
  EXPECT_FALSE(chat_as_message("[]"));
  EXPECT_FALSE(chat_as_message("{"));
}

TEST(MessageAsChat, SaysAWholeAnswer) {
  const auto chat = message_as_chat(R"({
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
    "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "It is "},
                {"type": "text", "text": "noon."},
                {"type": "tool_use", "id": "t", "name": "now", "input": {"zone": "UTC"}}],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 5, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 2,
              "output_tokens": 7}})",
                                    1234);
  ASSERT_TRUE(chat) << chat.error().message();
  EXPECT_EQ(*parse_json(*chat), *parse_json(R"({
    "id": "msg_1", "object": "chat.completion", "created": 1234, "model": "claude",
    "choices": [{"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": {
      "role": "assistant", "content": "It is noon.", "reasoning_content": "hm",
      "tool_calls": [{"id": "t", "type": "function",
                      "function": {"name": "now", "arguments": "{\"zone\":\"UTC\"}"}}]}}],
    "usage": {"prompt_tokens": 27, "completion_tokens": 7, "total_tokens": 34,
              "prompt_tokens_details": {"cached_tokens": 20}}})"));
  EXPECT_FALSE(message_as_chat("{}", 0));
  EXPECT_FALSE(message_as_chat("<html>", 0));
  EXPECT_FALSE(message_as_chat(R"({"content":[5]})", 0));
}

TEST(MessageAsChat, SaysErrors) {
  EXPECT_EQ(
      message_error_as_chat(
          400, R"({"type":"error","error":{"type":"invalid_request_error","message":"no"}})"),
      R"({"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}})");
  EXPECT_TRUE(message_error_as_chat(502, "<html>").contains("the provider answered 502"));
  EXPECT_EQ(status_as_chat(529), 503);
  EXPECT_EQ(status_as_chat(429), 429);
}

class MessageChunksTest : public testing::Test {
 protected:
  // What each event makes, by the fields that differ.
  std::string told(std::string_view data) {
    const auto made = chunks_->event(data);
    EXPECT_TRUE(made) << (made ? "" : made.error().message());
    std::string out;
    for (size_t i = 0; made && i < made->size(); ++i) {
      if (!out.empty()) out += " ";
      if ((*made)[i] == "[DONE]") {
        out += "[DONE]";
        continue;
      }
      const json::value chunk = *parse_json((*made)[i]);
      EXPECT_EQ(chunk.at("id"), "msg_1");
      EXPECT_EQ(chunk.at("object"), "chat.completion.chunk");
      EXPECT_EQ(chunk.at("model"), "claude");
      if (!chunk.at("choices").get_array().empty()) {
        const json::value& choice = chunk.at("choices").at(0);
        out += json::serialize(choice.at("delta"));
        if (!choice.at("finish_reason").is_null()) {
          out += json::serialize(choice.at("finish_reason"));
        }
      }
      const json::value* usage = chunk.get_object().if_contains("usage");
      if (usage != nullptr) out += json::serialize(usage->at("total_tokens"));
    }
    return out;
  }
  std::string start() {
    return told(R"({"type":"message_start","message":{"id":"msg_1","model":"claude",
                    "usage":{"input_tokens":5,"output_tokens":1}}})");
  }

  std::optional<MessageChunks> chunks_{std::in_place, false, 7};
};

TEST_F(MessageChunksTest, SaysAStream) {
  EXPECT_EQ(start(), R"({"role":"assistant","content":""})");
  EXPECT_EQ(told(R"({"type":"ping"})"), "");
  EXPECT_EQ(told(R"({"type":"content_block_start","index":0,"content_block":{"type":"text"}})"),
            "");
  EXPECT_EQ(told(R"({"type":"content_block_delta","index":0,
                     "delta":{"type":"text_delta","text":"Hé\n"}})"),
            "{\"content\":\"Hé\\n\"}");
  EXPECT_EQ(told(R"({"type":"content_block_stop","index":0})"), "");
  EXPECT_EQ(told(R"({"type":"content_block_start","index":1,"content_block":
                     {"type":"tool_use","id":"t","name":"now","input":{}}})"),
            R"({"tool_calls":[{"index":0,"id":"t","type":"function",)"
            R"("function":{"name":"now","arguments":""}}]})");
  EXPECT_EQ(told(R"({"type":"content_block_delta","index":1,
                     "delta":{"type":"input_json_delta","partial_json":"{\"a\""}})"),
            R"({"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]})");
  EXPECT_EQ(told(R"({"type":"content_block_stop","index":1})"), "");
  // A call without arguments is one of an empty object.
  told(
      R"({"type":"content_block_start","index":2,"content_block":
          {"type":"tool_use","id":"u","name":"b"}})");
  EXPECT_EQ(told(R"({"type":"content_block_stop","index":2})"),
            R"({"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]})");
  EXPECT_EQ(told(R"({"type":"message_delta","delta":{"stop_reason":"tool_use"},
                     "usage":{"output_tokens":9}})"),
            "");
  EXPECT_FALSE(chunks_->done());
  EXPECT_EQ(told(R"({"type":"message_stop"})"), R"({}"tool_calls"14 [DONE])");
  EXPECT_TRUE(chunks_->done());
}

TEST_F(MessageChunksTest, UsageHasAChunkOfItsOwnWhereItIsAskedFor) {
  chunks_.emplace(true, 7);
  start();
  told(
      R"({"type":"message_delta","delta":{"stop_reason":"max_tokens"},
          "usage":{"output_tokens":9}})");
  EXPECT_EQ(told(R"({"type":"message_stop"})"), R"({}"length" 14 [DONE])");
}

TEST_F(MessageChunksTest, EndsWhereWhatComesIsNoMessage) {
  EXPECT_FALSE(chunks_->event("nonsense"));
  EXPECT_FALSE(chunks_->event(R"({"type":"message_stop"})")) << "it has not begun";
  start();
  EXPECT_FALSE(chunks_->event(R"({"type":"message_start","message":{}})"));
  const auto error = chunks_->event(
      R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})");
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().message(), "the provider ended the stream: Overloaded");
}

}  // namespace
}  // namespace sluice::api
