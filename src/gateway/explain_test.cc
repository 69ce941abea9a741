// Transformers and explanations through the whole gateway, before scripted upstreams.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "gateway/explain_parts.h"
#include "gateway/graph_test_support.h"
#include "gateway/running_test_support.h"
#include "gateway/url_call.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using testing::body_of;
using testing::error_of;
using testing::graph_plan;
using testing::kAsk;
using testing::plan_of;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;
using testing::says;
using testing::ScriptedUpstream;

TEST(UrlCall, SomeAddressesAreNeverCalled) {
  RunningUpstream a(says("a"));
  RunningGateway gateway(graph_plan(
      {a.url()},
      "      - {name: root, type: sequence, steps: [{url: \"http://169.254.169.254/latest\"}]}\n"));
  const auto response = gateway.post(kAsk);
  EXPECT_EQ(response.status, 403);
  EXPECT_TRUE(error_of(response).contains("no address that may be called")) << response.body;
}

TEST(Transform, TemplatesMakeRequestAndAnswer) {
  RunningUpstream upstream(says("u"));
  RunningGateway gateway(testing::plan_text({upstream.url()}, R"(    transform:
      request_template: |
        {"model": {{ model | tojson }},
         "prompt": {{ ("Q: " ~ request.question) | tojson }}}
      response_template: |
        {"answer": {{ response.saw.prompt | tojson }},
         "asked": {{ request.question | tojson }}}
)"));
  const auto response = gateway.post(R"({"model":"m","question":"why?"})");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, R"({"answer":"Q: why?","asked":"why?"})");
  const auto stream = gateway.post(R"({"model":"m","question":"why?","stream":true})");
  EXPECT_EQ(stream.status, 400);
  const auto bad = gateway.post(R"({"model":"m","question":{}})");
  EXPECT_EQ(upstream.handler->count(), bad.status == 200 ? 2 : 1);
  const auto broken = gateway.gateway->apply(plan_of(
      testing::plan_text({upstream.url()}, "    transform: {request_template: '{% if'}\n")));
  ASSERT_FALSE(broken);
  EXPECT_TRUE(broken.error().message().contains("route r: transform.request_template"));
}

TEST(Transform, ServicesMakeRequestAndAnswer) {
  RunningUpstream upstream(says("u"));
  RunningUpstream service([](const HttpRequest& request, const Responder& responder) {
    if (request.path.ends_with(":preprocess")) {
      return responder->send(ScriptedUpstream::json(R"({"prompt":"made"})"));
    }
    responder->send(ScriptedUpstream::json("{\"of\":" + request.body + "}"));
  });
  RunningGateway gateway(testing::plan_text(
      {upstream.url()}, "    transform: {url: \"" + service.url() + "/v1/models/m\"}\n"));
  const json::value body = body_of(gateway.post(R"({"model":"m","x":1})"));
  EXPECT_EQ(body.at("of").at("saw").at("prompt").as_string(), "made");
  EXPECT_EQ(body.at("of").at("saw").at("model").as_string(), "m") << "it did not say";
  RunningGateway lost(testing::plan_text({upstream.url()},
                                         "    transform: {request_url: \"http://127.0.0.1:1\"}\n"));
  const auto response = lost.post(R"({"model":"m","x":1})");
  EXPECT_EQ(response.status, 503);
  EXPECT_TRUE(error_of(response).contains("transformer")) << response.body;
}

ExplainQuestion question_of(const std::string& body, int max_segments = 64) {
  plan::ExplainPlan plan;
  plan.max_segments = max_segments;
  const auto question = read_question(body, "m", plan);
  EXPECT_TRUE(question) << question.error().message();
  return question.value_or(ExplainQuestion{});
}

std::vector<std::string> texts_of(const ExplainQuestion& question) {
  std::vector<std::string> out;
  for (const PromptPart& part : prompt_parts(question)) {
    out.push_back(question.text.substr(part.begin, part.end - part.begin));
  }
  return out;
}

TEST(Explain, PartsHoldAllOfThePrompt) {
  using Texts = std::vector<std::string>;
  const auto by = [](const std::string& segments, const std::string& text, int most = 64) {
    return texts_of(question_of("{\"prompt\":" + to_json(json::value(text)) +
                                    R"(,"parameters":{"segments":")" + segments + "\"}}",
                                most));
  };
  EXPECT_EQ(by("sentence", "One. Two?  Three"), (Texts{"One. ", "Two?  ", "Three"}));
  EXPECT_EQ(by("sentence", "  v1.2 is out.\nReally!"), (Texts{"  v1.2 is out.\n", "Really!"}));
  EXPECT_EQ(by("line", "a b\n\nc\n"), (Texts{"a b\n\n", "c\n"}));
  EXPECT_EQ(by("word", "a bb  c"), (Texts{"a ", "bb  ", "c"}));
  const auto few = by("word", "aaaa b c dddd", 3);
  EXPECT_EQ(few.size(), 3u);
  EXPECT_EQ(few[0] + few[1] + few[2], "aaaa b c dddd");
  EXPECT_TRUE(by("word", " \n ").empty());
}

TEST(Explain, QuestionsAreReadWithinThePlansBounds) {
  const plan::ExplainPlan plan;
  const auto refusal = [&](const std::string& body) {
    const auto question = read_question(body, "m", plan);
    return question ? "" : question.error().message();
  };
  EXPECT_EQ(refusal(R"({"instances":["hi"]})"), "");
  EXPECT_EQ(refusal(R"({"instances":[{"messages":[{"role":"user","content":"hi"}]}]})"), "");
  EXPECT_TRUE(refusal(R"({"instances":["a","b"]})").contains("list of one"));
  EXPECT_TRUE(refusal(R"({"instances":[7]})").contains("expected a prompt"));
  EXPECT_TRUE(refusal(R"({"prompt":"x","parameters":{"max_segments":65}})").contains("1 to 64"));
  EXPECT_TRUE(refusal(R"({"prompt":"x","parameters":{"segments":"page"}})").contains("segments"));
  EXPECT_TRUE(refusal(R"({"messages":[{"role":"user","content":[]}]})").contains("content"));
}

TEST(Explain, ThePageShowsTextAndNeverRunsIt) {
  const ExplainQuestion question = question_of(R"({"prompt":"<script>x</script> b"})");
  const std::vector<PromptPart> parts = prompt_parts(question);
  const Explanation explanation{.question = question,
                                .parts = parts,
                                .answer = "<b>",
                                .tokens = {"<b>"},
                                .whole = {-1.0},
                                .without = {{-3.5}}};
  EXPECT_DOUBLE_EQ(score(explanation, 0), 2.5);
  const std::string page = explanation_page(explanation);
  EXPECT_FALSE(page.contains("<script>"));
  EXPECT_TRUE(page.contains("&lt;script&gt;"));
  EXPECT_TRUE(page.contains("+2.500"));
  const json::value value = *parse_json(explanation_json(explanation));
  EXPECT_EQ(value.at("predictions").at(0).as_string(), "<b>");
  EXPECT_DOUBLE_EQ(value.at("explanations").at(0).at("segments").at(0).at("score").as_double(),
                   2.5);
}

// A model of one rule: the answer "yes" is as likely as the prompt is long, but for the
// part "why".
ScriptedUpstream::Script rule_model() {
  return [](const HttpRequest& request, const Responder& responder) {
    const json::value body = *parse_json(request.body);
    if (request.path == "/tokenize") {
      json::array tokens;
      for (const char c : body.at("prompt").as_string()) tokens.push_back(int64_t{c});
      return responder->send(ScriptedUpstream::json(to_json(json::object{{"tokens", tokens}})));
    }
    if (!body.as_object().contains("prompt_logprobs")) {
      return responder->send(
          ScriptedUpstream::json(R"({"choices":[{"text":"yes","token_ids":[1,2]}]})"));
    }
    json::array choices;
    for (const json::value& prompt : body.at("prompt").as_array()) {
      std::string text;
      for (const json::value& id : prompt.as_array()) text += static_cast<char>(id.as_int64());
      const double all = text.contains("why") ? -1 : -5;
      json::array told{nullptr};
      for (size_t i = 3; i < prompt.as_array().size(); ++i) told.push_back(json::object{});
      told.push_back({{"1", {{"logprob", all}, {"decoded_token", "y"}}}});
      told.push_back({{"2", {{"logprob", -0.5}, {"decoded_token", "es"}}}});
      choices.push_back(json::object{{"prompt_logprobs", std::move(told)}});
    }
    responder->send(ScriptedUpstream::json(to_json(json::object{{"choices", choices}})));
  };
}

TEST(Explain, APartThatTheAnswerRestsOnHasTheHighestScore) {
  RunningUpstream upstream(rule_model());
  RunningGateway gateway(testing::plan_text({upstream.url()}, "    explain: {segments: word}\n"));
  const auto response =
      gateway.post(R"({"instances":["tell me why now"]})", {}, "/v1/models/m:explain");
  EXPECT_EQ(response.status, 200) << response.body;
  const json::value body = body_of(response);
  EXPECT_EQ(body.at("predictions").at(0).as_string(), "yes");
  const json::value& segments = body.at("explanations").at(0).at("segments");
  ASSERT_EQ(segments.as_array().size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_DOUBLE_EQ(segments.at(i).at("score").to_number<double>(), i == 2 ? 4 : 0) << i;
  }
  const auto page = gateway.post(R"({"instances":["tell me why now"]})", {{"Accept", "text/html"}},
                                 "/v1/models/m:explain");
  EXPECT_TRUE(page.body.starts_with("<!doctype html>"));
  EXPECT_TRUE(net::find_header(page.headers, "content-type").starts_with("text/html"));
}

TEST(Explain, VeryManyPartsAreJoinedInNoTime) {
  std::string text;
  while (text.size() < 900'000) text += "a ";
  const auto parts = texts_of(question_of("{\"prompt\":" + to_json(json::value(text)) +
                                          R"(,"parameters":{"segments":"word"}})"));
  EXPECT_EQ(parts.size(), 64u);
  std::string all;
  for (const std::string& part : parts) all += part;
  EXPECT_EQ(all, text);
}

TEST(Explain, MoreMessagesThanSegmentsAreRefused) {
  RunningUpstream upstream(rule_model());
  RunningGateway gateway(testing::plan_text({upstream.url()}, "    explain: {max_segments: 2}\n"));
  const auto response = gateway.post(
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},
          {"role":"user","content":"c"}]})",
      {}, "/v1/models/m:explain");
  EXPECT_EQ(response.status, 400);
  EXPECT_TRUE(response.body.contains("3 messages have a text, and 2 segments")) << response.body;
}

TEST(Explain, AServerThatTellsTooLittleIsNamed) {
  RunningUpstream upstream(says("u"));
  RunningGateway gateway(testing::plan_text({upstream.url()}, "    explain: {}\n"));
  const auto response = gateway.post(R"({"instances":["tell me"]})", {}, "/v1/models/m:explain");
  EXPECT_EQ(response.status, 501) << response.body;
  EXPECT_TRUE(response.body.contains("token_ids")) << response.body;
}

}  // namespace
}  // namespace sluice::gateway
