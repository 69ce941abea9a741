// What requests to servers of any make are charged for, through a whole gateway.
#include "base/json.h"
#include "gateway/running_test_support.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using net::testing::Signal;
using testing::answers;
using testing::plan_text;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;

std::string limited_plan(const std::string& url) {
  std::string text = plan_text({url}, "    default_max_tokens: 77\n");
  const std::string open = "    public: true\n";
  text.replace(text.find(open), open.size(), "");
  return text +
         "tenants:\n  - name: t\n    limits: {tokens_per_minute: 1000}\n"
         "    keys: [{name: k, sha256: " +
         SecretDigest("the-key").hex() + "}]\n";
}

class ChargingTest : public ::testing::Test {
 protected:
  HttpResponse post(const std::string& path, const std::string& body) {
    return gateway_.post(body, {{"Authorization", "Bearer the-key"}}, path);
  }
  int64_t tokens_left(const HttpResponse& response) {
    return std::stoll(
        std::string(net::find_header(response.headers, "x-ratelimit-remaining-tokens")));
  }

  RunningUpstream upstream_{answers("u")};
  RunningGateway gateway_{limited_plan(upstream_.url())};
};

TEST_F(ChargingTest, WhatGeneratesIsGivenAMaximum) {
  const auto seen = [this](const std::string& field) {
    const auto body = parse_json(upstream_.handler->seen().back().body);
    const auto* value = body->get_object().if_contains(field);
    return value == nullptr ? 0 : value->to_number<int>();
  };
  post("/v1/responses", R"({"model":"m","input":"hi"})");
  EXPECT_EQ(seen("max_output_tokens"), 77);
  const HttpResponse answer = post("/v1/completions", R"({"model":"m","prompt":"hi"})");
  EXPECT_EQ(seen("max_tokens"), 77);
  EXPECT_LT(tokens_left(answer), 1000 - 77);
}

TEST_F(ChargingTest, WhatDoesNotIsPassedOnAsItIs) {
  const std::string body = R"({"model":"m","messages":[{"role":"user","content":"hi"}]})";
  for (const auto* path : {"/v1/messages/count_tokens", "/tokenize"}) {
    const HttpResponse answer = post(path, body);
    EXPECT_EQ(upstream_.handler->seen().back().body, body) << path;
    EXPECT_EQ(tokens_left(answer), 1000) << path;
  }
  EXPECT_EQ(post("/detokenize", R"({"model":"m","tokens":[1]})").status, 200);
  const std::string input = R"({"model":"m","input":"hi"})";
  for (const auto* path : {"/v1/embeddings", "/v1/rerank"}) {
    EXPECT_LT(tokens_left(post(path, input)), 1000) << path;
    EXPECT_EQ(upstream_.handler->seen().back().body, input) << path;
  }
}

// A server that minds no maximum.
TEST(RunawayTest, AStreamPastItsMaximumIsCut) {
  Signal gone;
  Responder held;  // it does not end by itself
  RunningUpstream upstream([&](const HttpRequest&, const Responder& responder) {
    held = responder;
    responder->on_close([&] { gone.set(); });
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    for (int i = 0; i < 500; ++i) responder->write("data: {\"choices\":[{\"text\":\"a\"}]}\n\n");
  });
  RunningGateway gateway(limited_plan(upstream.url()));
  const HttpResponse answer =
      gateway.post(R"({"model":"m","prompt":"hi","max_tokens":40,"stream":true})",
                   {{"Authorization", "Bearer the-key"}});
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find("max_tokens_passed"), std::string::npos);
  EXPECT_LT(answer.body.size(), 64u << 10);
  EXPECT_TRUE(gone.wait());
}

TEST(EventCounterTest, CountsHoweverTheStreamIsCutUp) {
  const std::string text =
      "data: a\n\n: data:\nevent: ping\ndata:b\r\ndata : no\n\ndatadata:\n\ndata:";
  EventCounter whole;
  whole.feed(text);
  EXPECT_EQ(whole.events(), 3);
  EventCounter bytes;
  for (const char c : text) bytes.feed({&c, 1});
  EXPECT_EQ(bytes.events(), 3);
}

TEST_F(ChargingTest, WhatMayCostAnythingIsRefused) {
  const HttpResponse answer = post("/v1/completions", R"({"model":"m","text":"hi"})");
  EXPECT_NE(answer.status, 200);
  EXPECT_NE(answer.body.find("cost_unknown"), std::string::npos);
}

}  // namespace
}  // namespace sluice::gateway
