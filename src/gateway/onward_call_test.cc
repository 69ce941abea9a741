// Chat completions through the whole gateway to upstreams that speak Anthropic's Messages API.
#include "gateway/onward_call.h"

#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "gateway/running_test_support.h"
#include "net/sse.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using testing::answers;
using testing::plan_text;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;
using testing::ScriptedUpstream;

constexpr const char* kChat =
    R"({"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":9})";
constexpr const char* kStream =
    R"({"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true})";
constexpr const char* kPath = "/v1/chat/completions";
constexpr const char* kMessage = R"({"id":"msg_1","type":"message","model":"real",
    "content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn",
    "usage":{"input_tokens":3,"output_tokens":2}})";
constexpr const char* kStart = R"({"type":"message_start","message":{"id":"msg_1","model":"real",
    "usage":{"input_tokens":3,"output_tokens":1}}})";

std::string to_anthropic(const std::string& url, const std::string& more = "") {
  return plan_text({url}, more.empty() ? "    targets: [{upstream: u, model: real}]\n" : more,
                   "    protocol: anthropic\n    api_key: {env: X}\n");
}

// What is scripted of a stream, however it ends.
ScriptedUpstream::Script streams(std::vector<std::string> events, bool ends_well = true) {
  return [events = std::move(events), ends_well](const HttpRequest&, const Responder& responder) {
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    for (const std::string& each : events) {
      const json::value data = *parse_json(each);
      responder->write(
          net::sse_event(json::serialize(data), std::string_view(data.at("type").get_string())));
    }
    ends_well ? responder->finish() : responder->finish_with_error();
  };
}

std::string text_of(const std::string& body) {
  std::string text;
  net::SseParser parser;
  std::vector<net::SseEvent> events;
  EXPECT_TRUE(parser.feed(body, events));
  for (const net::SseEvent& event : events) {
    if (event.data == "[DONE]") return text + "|done";
    const json::value chunk = *parse_json(event.data);
    if (chunk.get_object().contains("error")) return text + "|error";
    const auto* content = chunk.at("choices").at(0).at("delta").get_object().if_contains("content");
    if (content != nullptr) text += std::string_view(content->get_string());
  }
  return text;
}

TEST(OnwardCall, AChatIsAskedAsAMessage) {
  RunningUpstream upstream([](const HttpRequest&, const Responder& responder) {
    responder->send(ScriptedUpstream::json(kMessage));
  });
  RunningGateway gateway(to_anthropic(upstream.url()));
  const HttpResponse response = gateway.post(kChat, {}, kPath);
  EXPECT_EQ(response.status, 200);
  const json::value chat = *parse_json(response.body);
  EXPECT_EQ(chat.at("object"), "chat.completion");
  EXPECT_EQ(chat.at("choices").at(0).at("message").at("content"), "Hello");
  EXPECT_EQ(chat.at("usage").at("total_tokens"), 5);
  const auto seen = upstream.handler->seen();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].target, "/v1/messages");
  EXPECT_EQ(seen[0].header("x-api-key"), "secret");
  EXPECT_EQ(seen[0].header("authorization"), "");
  EXPECT_EQ(seen[0].header("anthropic-version"), "2023-06-01");
  EXPECT_EQ(*parse_json(seen[0].body), *parse_json(R"({"model":"real","max_tokens":9,
      "messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]})"));
}

TEST(OnwardCall, AMessageIsPassedOnAsItIs) {
  RunningUpstream upstream(answers("a"));
  RunningGateway gateway(to_anthropic(upstream.url()));
  const HttpResponse response = gateway.post(R"({"model":"m","messages":[]})",
                                             {{"anthropic-version", "2030-01-01"}}, "/v1/messages");
  EXPECT_EQ(response.body, R"({"who":"a","saw":{"model":"real","messages":[]}})");
  const auto seen = upstream.handler->seen();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].header("anthropic-version"), "2030-01-01");
  EXPECT_EQ(seen[0].header("x-api-key"), "secret");
}

TEST(OnwardCall, WhatCannotBeAskedIsRefusedAndNotSent) {
  RunningUpstream upstream(answers("a"));
  RunningGateway gateway(to_anthropic(upstream.url()));
  const HttpResponse two =
      gateway.post(R"({"model":"m","n":2,"messages":[{"role":"user","content":"x"}]})", {}, kPath);
  EXPECT_EQ(two.status, 400);
  EXPECT_EQ(parse_json(two.body)->at("error").at("param"), "n");
  EXPECT_EQ(gateway.post(R"({"model":"m","prompt":"x"})").status, 404);
  EXPECT_EQ(upstream.handler->count(), 0);
}

TEST(OnwardCall, AStreamComesAsChunks) {
  RunningUpstream upstream(
      streams({kStart, R"({"type":"ping"})",
               R"({"type":"content_block_start","index":0,"content_block":{"type":"text"}})",
               R"({"type":"content_block_delta","delta":{"type":"text_delta","text":"Hel"}})",
               R"({"type":"content_block_delta","delta":{"type":"text_delta","text":"lo"}})",
               R"({"type":"content_block_stop","index":0})",
               R"({"type":"message_delta","delta":{"stop_reason":"end_turn"},
                   "usage":{"output_tokens":2}})",
               R"({"type":"message_stop"})"}));
  RunningGateway gateway(to_anthropic(upstream.url()));
  const HttpResponse response = gateway.post(kStream, {}, kPath);
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(net::find_header(response.headers, "content-type").starts_with("text/event-stream"));
  EXPECT_EQ(text_of(response.body), "Hello|done");
}

TEST(OnwardCall, ErrorsComeInTheOtherWords) {
  RunningUpstream busy([](const HttpRequest&, const Responder& responder) {
    responder->send(ScriptedUpstream::json(
        R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})", 529));
  });
  RunningGateway gateway(to_anthropic(busy.url(), "    retry: {attempts: 0}\n"));
  const HttpResponse response = gateway.post(kChat, {}, kPath);
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(parse_json(response.body)->at("error").at("message"), "Overloaded");
}

// Before anything of an answer came, whatever else fails does.
TEST(OnwardCall, AStreamThatFailsAtOnceIsAskedElsewhere) {
  RunningUpstream bad(streams({R"({"type":"error","error":{"message":"Overloaded"}})"}));
  RunningUpstream empty(streams({}));
  RunningUpstream other([](const HttpRequest&, const Responder& responder) {
    responder->send(ScriptedUpstream::json(R"({"who":"other"})"));
  });
  for (const std::string& first : {bad.url(), empty.url()}) {
    std::string plan = to_anthropic(first,
                                    "    retry: {attempts: 0}\n"
                                    "    fallbacks: [{upstream: v, on: [server_error]}]\n");
    plan.insert(plan.find("routes:"),
                "  - {name: v, health: {active: false}, endpoints: "
                "[{url: \"" +
                    other.url() + "\"}]}\n");
    RunningGateway gateway(plan);
    EXPECT_EQ(gateway.post(kStream, {}, kPath).body, R"({"who":"other"})");
  }
  EXPECT_EQ(other.handler->seen().at(0).target, kPath) << "this one speaks OpenAI's protocol";
}

// The chat is made into a message when that is asked for first: by a fallback, or by a mirror.
TEST(OnwardCall, AFallbackOfAnotherProtocolIsAskedInItsWords) {
  RunningUpstream bad([](const HttpRequest&, const Responder& responder) {
    responder->send(ScriptedUpstream::json(R"({"error":{"message":"x"}})", 500));
  });
  RunningUpstream other([](const HttpRequest&, const Responder& responder) {
    responder->send(ScriptedUpstream::json(kMessage));
  });
  std::string plan = plan_text({bad.url()},
                               "    retry: {attempts: 0}\n"
                               "    fallbacks: [{upstream: v, model: real, on: [server_error]}]\n");
  plan.insert(plan.find("routes:"),
              "  - {name: v, protocol: anthropic, health: {active: false}, endpoints: [{url: \"" +
                  other.url() + "\"}]}\n");
  RunningGateway gateway(plan);
  for (int i = 0; i < 3; ++i) {
    const HttpResponse response = gateway.post(kChat, {}, kPath);
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(parse_json(response.body)->at("choices").at(0).at("message").at("content"), "Hello");
  }
  EXPECT_EQ(other.handler->seen().at(0).target, "/v1/messages");
  EXPECT_EQ(parse_json(other.handler->seen().at(0).body)->at("model"), "real");
  // What cannot be asked of the fallback is told as the first one's failure.
  const HttpResponse two =
      gateway.post(R"({"model":"m","n":2,"messages":[{"role":"user","content":"x"}]})", {}, kPath);
  EXPECT_EQ(two.status, 500);
}

TEST(OnwardCall, AMirrorOfAnotherProtocolIsAskedInItsWords) {
  RunningUpstream first(answers("first"));
  net::testing::Signal asked;
  RunningUpstream other([&asked](const HttpRequest&, const Responder& responder) {
    responder->send(ScriptedUpstream::json(kMessage));
    asked.set();
  });
  std::string plan = plan_text({first.url()}, "    mirror: {upstream: v, percent: 100}\n");
  plan.insert(plan.find("routes:"),
              "  - {name: v, protocol: anthropic, health: {active: false}, endpoints: [{url: \"" +
                  other.url() + "\"}]}\n");
  RunningGateway gateway(plan);
  // What cannot be asked of the mirror is nobody's trouble.
  EXPECT_TRUE(
      gateway.post(R"({"model":"m","n":2,"messages":[{"role":"user","content":"x"}]})", {}, kPath)
          .body.contains("first"));
  EXPECT_TRUE(gateway.post(kChat, {}, kPath).body.contains("first"));
  ASSERT_TRUE(asked.wait());
  ASSERT_EQ(other.handler->count(), 1);
  EXPECT_EQ(other.handler->seen().at(0).target, "/v1/messages");
}

TEST(OnwardCall, AStreamThatBreaksOffSaysSo) {
  const std::string text =
      R"({"type":"content_block_delta","delta":{"type":"text_delta","text":"Hel"}})";
  RunningUpstream told(streams({kStart, text, R"({"type":"error","error":{"message":"x"}})"}));
  RunningUpstream silent(streams({kStart, text}));
  RunningUpstream cut(streams({kStart, text}, false));
  RunningUpstream foreign(streams({kStart, text, R"({"type":"message_start"})"}));
  for (const auto* each : {&told, &silent, &cut, &foreign}) {
    RunningGateway gateway(to_anthropic(each->url()));
    // finish_with_error() cuts the connection behind the error: not all of fetch() may come.
    std::string body;
    net::testing::Signal over;
    net::HttpClient client;
    client.request({.method = "POST", .url = gateway.url(kPath), .body = kStream},
                   {.on_data = [&](std::string_view bytes) { body += bytes; },
                    .on_end = [&](const Outcome&) { over.set(); }});
    ASSERT_TRUE(over.wait());
    EXPECT_EQ(text_of(body), "Hel|error");
  }
}

}  // namespace
}  // namespace sluice::gateway
