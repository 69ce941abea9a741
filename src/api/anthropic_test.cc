#include <gtest/gtest.h>

#include <string>

#include "api/anthropic_request.h"
#include "api/anthropic_response.h"

namespace sluice::api {
namespace {

using completion::ChatPrompt;
using completion::FinishReason;

Result<MessagesCall> messages(const std::string& body) {
  SLUICE_ASSIGN_OR_RETURN(const auto object, parse_body(body));
  return parse_messages_request(object);
}

// A request with one more member.
std::string with(const std::string& member) {
  return R"({"max_tokens":9,"messages":[{"role":"user","content":"hi"}],)" + member + "}";
}

std::string with_message(const std::string& message) {
  return R"({"max_tokens":9,"messages":[)" + message + "]}";
}

TEST(MessagesRequest, ReadsWhatClientsSend) {
  const auto call = messages(
      R"({"model":"m","max_tokens":7,"system":[{"type":"text","text":"be ","cache_control":{"type":
          "ephemeral"}},{"type":"text","text":"brief"}],"messages":[{"role":"user","content":"a"},
          {"role":"user","content":[{"type":"text","text":"b"},{"type":"text","text":"c"}]}],
          "temperature":0.5,"top_p":0.9,"top_k":3,"stop_sequences":["x"],"stream":true,
          "metadata":{"user_id":"u"},"service_tier":"auto","tools":[],
          "thinking":{"type":"disabled"},
          "tool_choice":{"type":"none"},"speed":"standard","diagnostics":null})");
  ASSERT_TRUE(call) << call.error().message();
  EXPECT_TRUE(call->stream);
  EXPECT_EQ(call->request.model, "m");
  EXPECT_EQ(call->request.sampling.max_tokens, 7);
  EXPECT_EQ(call->request.sampling.top_k, 3);
  EXPECT_EQ(call->request.sampling.stop, (std::vector<std::string>{"x"}));
  const auto& prompt = std::get<ChatPrompt>(call->request.prompts.at(0));
  ASSERT_EQ(prompt.messages.size(), 2u) << "turns of one role are one turn";
  EXPECT_EQ(prompt.messages[0].role, "system");
  EXPECT_EQ(prompt.messages[0].content, "be brief");
  EXPECT_EQ(prompt.messages[1].content, "a\nbc");
  EXPECT_TRUE(prompt.add_generation_prompt);
}

TEST(MessagesRequest, AnAssistantsLastMessageIsContinued) {
  const auto call = messages(with_message(
      R"({"role":"user","content":"a"},{"role":"assistant","content":"The answer is"})"));
  ASSERT_TRUE(call);
  const auto& prompt = std::get<ChatPrompt>(call->request.prompts.at(0));
  EXPECT_TRUE(prompt.continue_final_message);
  EXPECT_FALSE(prompt.add_generation_prompt);
}

struct Refused {
  std::string body;
  const char* param;
};

TEST(MessagesRequest, NamesWhatItRefuses) {
  const Refused cases[] = {
      {with(R"("tools":[{"name":"t","input_schema":{}}])"), "tools"},
      {with(R"("tool_choice":{"type":"any"})"), "tool_choice"},
      {with(R"("thinking":{"type":"enabled","budget_tokens":1024})"), "thinking"},
      {with(R"("mcp_servers":[{}])"), "mcp_servers"},
      {with(R"("container":"c")"), "container"},
      {with(R"("frobnicate":1)"), "frobnicate"},
      {with(R"("temperature":1.5)"), "temperature"},
      {with(R"("temperature":"hot")"), "temperature"},
      {with(R"("top_p":0)"), "top_p"},
      {with(R"("top_k":-1)"), "top_k"},
      {with(R"("stop_sequences":"x")"), "stop_sequences"},
      {with(R"("stop_sequences":[""])"), "stop_sequences"},
      {with(R"("metadata":{"user_id":5})"), "metadata.user_id"},
      {with(R"("service_tier":"gold")"), "service_tier"},
      {with(R"("system":5)"), "system"},
      {with(R"("system":[{"type":"image","source":{}}])"), "system[0]"},
      {with(R"("stream":"yes")"), "stream"},
      {R"({"messages":[{"role":"user","content":"x"}]})", "max_tokens"},
      {R"({"max_tokens":0,"messages":[{"role":"user","content":"x"}]})", "max_tokens"},
      {R"({"max_tokens":1})", "messages"},
      {with_message(""), "messages"},
      {with_message("7"), "messages[0]"},
      {with_message(R"({"role":"tool","content":"x"})"), "messages[0].role"},
      {with(R"("speed":"fast")"), "speed"},
      {with_message(R"({"role":"user"})"), "messages[0].content"},
      {with_message(R"({"role":"user","content":""})"), "messages[0].content"},
      {with_message(R"({"role":"user","content":[{"type":"image","source":{}}]})"),
       "messages[0].content[0]"},
      {with_message(R"({"role":"user","content":[{"type":"document","source":{}}]})"),
       "messages[0].content[0]"},
      {with_message(R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]})"),
       "messages[0].content[0]"},
      {with_message(R"({"role":"user","content":[{"type":"text","text":""}]})"),
       "messages[0].content[0].text"},
      {with_message(R"({"role":"user","content":[{"text":"x"}]})"), "messages[0].content[0].type"},
  };
  for (const Refused& refused : cases) {
    const auto call = messages(refused.body);
    ASSERT_FALSE(call) << refused.body;
    EXPECT_EQ(call.error().code(), Code::kInvalidArgument) << refused.body;
    EXPECT_EQ(call.error().param(), refused.param) << refused.body;
    EXPECT_FALSE(call.error().message().empty());
  }
}

TEST(CountTokensRequest, TakesTheConversationOnly) {
  const auto parse = [](const std::string& text) {
    return parse_count_tokens_request(*parse_body(text));
  };
  EXPECT_TRUE(parse(R"({"model":"m","messages":[{"role":"user","content":"x"}],"system":"s"})"));
  EXPECT_EQ(parse(with(R"("model":"m")")).error().param(), "max_tokens");
}

TEST(AnthropicVersion, OnlyTheTwo) {
  EXPECT_TRUE(check_anthropic_version(""));
  EXPECT_TRUE(check_anthropic_version("2023-06-01"));
  EXPECT_TRUE(check_anthropic_version("2026-10-21"));
  EXPECT_FALSE(check_anthropic_version("2023-01-01"));
}

completion::Answer answer(const std::string& text, FinishReason finish,
                          completion::StopReason reason = {}) {
  completion::Answer out;
  out.choices.push_back({.text = text,
                         .tokens = {},
                         .logprobs = {},
                         .finish = finish,
                         .stop_reason = std::move(reason)});
  out.usage = {.prompt_tokens = 10, .completion_tokens = 3, .cached_tokens = 4};
  return out;
}

TEST(MessageBody, HasTheProtocolsMembers) {
  const MessageHead head{.id = "msg_1", .model = "m"};
  EXPECT_EQ(message_body(head, answer("a\"b", FinishReason::kStop)),
            R"({"id":"msg_1","type":"message","role":"assistant","model":"m",)"
            R"("content":[{"type":"text","text":"a\"b","citations":null}],)"
            R"("stop_reason":"end_turn","stop_sequence":null,"stop_details":null,"container":null,)"
            R"("usage":{"input_tokens":6,"cache_creation_input_tokens":0,)"
            R"("cache_read_input_tokens":4,"output_tokens":3}})");
}

TEST(MessageBody, SaysWhyItEnded) {
  MessageHead head{.id = "i", .model = "m"};
  const auto holds = [&](const completion::Answer& a, const char* text) {
    return message_body(head, a).find(text) != std::string::npos;
  };
  EXPECT_TRUE(holds(answer("a", FinishReason::kLength), R"("stop_reason":"max_tokens")"));
  EXPECT_TRUE(holds(answer("a", FinishReason::kStop, std::string("END")),
                    R"("stop_reason":"stop_sequence","stop_sequence":"END")"));
  EXPECT_TRUE(holds(answer("", FinishReason::kStop), R"("content":[],)"));
  head.to_context_end = true;
  EXPECT_TRUE(holds(answer("a", FinishReason::kLength), "model_context_window_exceeded"));
}

std::string names(const std::vector<NamedEvent>& events) {
  std::string out;
  for (const NamedEvent& event : events) out += std::string(event.name) + " ";
  return out;
}

TEST(MessageEvents, ComeInTheProtocolsOrder) {
  MessageEvents events({.id = "i", .model = "m"});
  const auto started = events.start(10);
  EXPECT_EQ(names(started), "message_start ");
  EXPECT_NE(started[0].data.find(R"("content":[],"stop_reason":null)"), std::string::npos);
  completion::Delta delta;
  EXPECT_EQ(names(events.delta(delta)), "");
  delta.text = "x";
  EXPECT_EQ(names(events.delta(delta)), "content_block_start ping content_block_delta ");
  delta.finish = FinishReason::kStop;
  delta.stop_reason = std::string("END");
  EXPECT_EQ(names(events.delta(delta)), "content_block_delta ");
  const auto done = events.done({.prompt_tokens = 10, .completion_tokens = 2, .cached_tokens = 0});
  EXPECT_EQ(names(done), "content_block_stop message_delta message_stop ");
  EXPECT_NE(done[1].data.find(R"("stop_sequence":"END")"), std::string::npos);
}

TEST(MessageEvents, AnAnswerWithoutTextHasNoBlock) {
  MessageEvents events({.id = "i", .model = "m"});
  completion::Delta delta;
  delta.finish = FinishReason::kStop;
  EXPECT_TRUE(events.delta(delta).empty());
  EXPECT_EQ(names(events.done({})), "message_delta message_stop ");
}

TEST(AnthropicError, TypesFollowTheStatus) {
  const std::pair<int, const char*> cases[] = {
      {400, "invalid_request_error"}, {401, "authentication_error"},
      {403, "permission_error"},      {404, "not_found_error"},
      {413, "request_too_large"},     {415, "invalid_request_error"},
      {429, "rate_limit_error"},      {500, "api_error"},
      {503, "overloaded_error"}};
  for (const auto& [status, type] : cases) {
    EXPECT_EQ(anthropic_error_body(status, "m", "req_1"),
              R"({"type":"error","error":{"type":")" + std::string(type) +
                  R"(","message":"m"},"request_id":"req_1"})");
  }
}

}  // namespace
}  // namespace sluice::api
