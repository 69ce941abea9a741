// Graphs, transformers and explanations through the whole gateway, before scripted upstreams.
#include "gateway/graph.h"

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
#include "gateway/graph_body.h"
#include "gateway/running_test_support.h"
#include "gateway/url_call.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using net::testing::Signal;
using testing::fails;
using testing::plan_of;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;
using testing::ScriptedUpstream;

// Says who it is, and what it was asked.
ScriptedUpstream::Script says(const std::string& name) {
  return [name](const HttpRequest& request, const Responder& responder) {
    responder->send(ScriptedUpstream::json("{\"by\":\"" + name + "\",\"path\":\"" + request.path +
                                           "\",\"saw\":" + request.body + "}"));
  };
}

// Upstreams and routes a, b, … and a graph g of these nodes.
std::string graph_plan(const std::vector<std::string>& urls, const std::string& nodes,
                       const std::string& more = "") {
  std::string upstreams = "upstreams:\n";
  std::string routes = "routes:\n";
  for (size_t i = 0; i < urls.size(); ++i) {
    const std::string name(1, static_cast<char>('a' + i));
    upstreams += "  - {name: " + name + ", health: {active: false}, endpoints: [{url: \"" +
                 urls[i] + "\"}]}\n";
    routes += "  - {name: " + name + ", match: {models: [m-" + name +
              "]}, retry: {attempts: 0}, targets: [{upstream: " + name + "}]}\n";
  }
  return upstreams + routes + "graphs:\n  - name: ns/g\n    models: [g]\n    public: true\n" +
         more + "    nodes:\n" + nodes;
}

constexpr const char* kAsk = R"({"model":"g","prompt":"hi"})";

json::value body_of(const HttpResponse& response) {
  const auto value = parse_json(response.body);
  EXPECT_TRUE(value) << response.body;
  return value ? *value : json::value();
}

std::string error_of(const HttpResponse& response) {
  const json::value body = body_of(response);
  const auto* error = body.is_object() ? body.get_object().if_contains("error") : nullptr;
  if (error == nullptr || !error->is_object()) return response.body;
  return std::string(error->get_object().at("message").get_string());
}

TEST(Graph, ASequenceGoesOnWithTheAnswer) {
  RunningUpstream a(says("a"));
  RunningUpstream b(says("b"));
  RunningGateway gateway(graph_plan({a.url(), b.url()}, R"(
      - name: root
        type: sequence
        steps:
          - {name: first, route: a}
          - {name: second, route: b, data: $response, path: /v1/completions}
)"));
  const auto response = gateway.post(kAsk);
  EXPECT_EQ(response.status, 200);
  const json::value body = body_of(response);
  EXPECT_EQ(body.at("by").as_string(), "b");
  const json::value& seen = body.at("saw");
  EXPECT_EQ(seen.at("by").as_string(), "a");
  EXPECT_EQ(seen.at("model").as_string(), "m-b") << "asked for by the route's own name";
  EXPECT_EQ(seen.at("saw").at("model").as_string(), "m-a");
  EXPECT_EQ(seen.at("path").as_string(), "/v1/completions");
  // By its path, too; and nothing else is asked for by it.
  EXPECT_EQ(gateway.post(R"({"prompt":"x"})", {}, "/v1/graphs/ns/g").status, 200);
  EXPECT_EQ(gateway.post(R"({"prompt":"x"})", {}, "/v1/graphs/ns/h").status, 404);
  EXPECT_EQ(gateway.post(R"({"model":"m-a","prompt":"x"})").status, 404) << "no key opens a route";
}

TEST(Graph, AConditionThatDoesNotHoldEndsASequence) {
  RunningUpstream a(says("a"));
  RunningUpstream b(says("b"));
  RunningGateway gateway(graph_plan({a.url(), b.url()}, R"(
      - name: root
        type: sequence
        steps:
          - {route: a}
          - {route: b, condition: 'saw.#(x==1)'}
)"));
  const json::value body = body_of(gateway.post(kAsk));
  EXPECT_EQ(body.at("by").as_string(), "a");
  EXPECT_EQ(b.handler->count(), 0);
}

TEST(Graph, HardStepsEndItAndSoftOnesDoNot) {
  RunningUpstream bad(fails(418));
  RunningUpstream b(says("b"));
  const auto nodes = [](const std::string& dependency) {
    return "      - name: root\n        type: sequence\n        steps:\n"
           "          - {route: a, dependency: " +
           dependency +
           "}\n"
           "          - {route: b, data: response, path: /v1/completions}\n";
  };
  RunningGateway gateway(graph_plan({bad.url(), b.url()}, nodes("hard")));
  const auto hard = gateway.post(kAsk);
  EXPECT_EQ(hard.status, 418);
  EXPECT_EQ(hard.body, R"({"error":"no"})");
  EXPECT_EQ(b.handler->count(), 0);
  ASSERT_TRUE(gateway.gateway->apply(plan_of(graph_plan({bad.url(), b.url()}, nodes("soft")))));
  const auto soft = gateway.post(kAsk);
  EXPECT_EQ(soft.status, 200);
  EXPECT_EQ(body_of(soft).at("saw").at("error").as_string(), "no");
}

TEST(Graph, ASwitchTakesTheFirstThatHolds) {
  RunningUpstream a(says("a"));
  RunningUpstream b(says("b"));
  RunningGateway gateway(graph_plan({a.url(), b.url()}, R"(
      - name: root
        type: switch
        steps:
          - {route: a, condition: '[@this].#(lang==de)'}
          - {route: b, condition: '[@this].#(lang==en)'}
)"));
  const auto ask = [&](const std::string& lang) {
    return gateway.post(R"({"model":"g","prompt":"x","lang":")" + lang + "\"}");
  };
  EXPECT_EQ(body_of(ask("de")).at("by").as_string(), "a");
  EXPECT_EQ(body_of(ask("en")).at("by").as_string(), "b");
  const auto none = ask("fr");
  EXPECT_EQ(none.status, 404);
  EXPECT_TRUE(error_of(none).contains("graph ns/g, node root")) << none.body;
}

TEST(Graph, ASplitterSplitsExactly) {
  RunningUpstream a(says("a"));
  RunningUpstream b(says("b"));
  RunningGateway gateway(graph_plan({a.url(), b.url()}, R"(
      - name: root
        type: splitter
        steps: [{route: a, weight: 90}, {route: b, weight: 10}]
)"));
  for (int i = 0; i < 40; ++i) EXPECT_EQ(gateway.post(kAsk).status, 200);
  EXPECT_EQ(a.handler->count(), 36);
  EXPECT_EQ(b.handler->count(), 4);
}

TEST(Graph, AnEnsembleJoinsAllAnswers) {
  RunningUpstream a(says("a"));
  RunningUpstream b(says("b"));
  RunningUpstream list([](const HttpRequest&, const Responder& responder) {
    responder->send(ScriptedUpstream::json("[1]"));
  });
  const std::string nodes = R"(
      - name: root
        type: ensemble
        steps: [{name: left, route: a}, {route: b}]
)";
  RunningGateway gateway(graph_plan({a.url(), b.url()}, nodes));
  const json::value body = body_of(gateway.post(kAsk));
  EXPECT_EQ(body.at("left").at("by").as_string(), "a");
  EXPECT_EQ(body.at("1").at("by").as_string(), "b");
  ASSERT_TRUE(gateway.gateway->apply(plan_of(graph_plan({a.url(), list.url()}, nodes))));
  const auto wrong = gateway.post(kAsk);
  EXPECT_EQ(wrong.status, 500);
  EXPECT_TRUE(error_of(wrong).contains("must be an object")) << wrong.body;
}

TEST(Graph, NodesNestAndTemplatesSeeAllAnswers) {
  RunningUpstream a(says("a"));
  RunningUpstream b(says("b"));
  RunningGateway gateway(graph_plan({a.url(), b.url()}, R"(
      - name: last
        type: sequence
        steps:
          - name: end
            route: b
            body: |
              {"prompt": {{ (request.prompt ~ "|" ~ answers.start.by ~ "|" ~ input.q) | tojson }}}
      - name: root
        type: sequence
        steps:
          - {name: start, route: a}
          - {name: go, node: last, body: '{"q": "z"}'}
)"));
  const json::value body = body_of(gateway.post(kAsk));
  EXPECT_EQ(body.at("saw").at("prompt").as_string(), "hi|a|z");
  EXPECT_EQ(body.at("saw").at("model").as_string(), "m-b");
}

TEST(Graph, RetriesThenTheFallback) {
  std::atomic<int> calls = 0;
  RunningUpstream flaky([&](const HttpRequest& request, const Responder& responder) {
    ++calls < 3 ? fails(500)(request, responder) : says("flaky")(request, responder);
  });
  RunningUpstream b(says("b"));
  const auto nodes = [](int retries) {
    return "      - name: root\n        type: sequence\n        steps:\n          - "
           "{route: a, "
           "retries: " +
           std::to_string(retries) +
           ", fallback: spare}\n"
           "      - {name: spare, type: sequence, steps: [{route: b}]}\n";
  };
  RunningGateway gateway(graph_plan({flaky.url(), b.url()}, nodes(2)));
  EXPECT_EQ(body_of(gateway.post(kAsk)).at("by").as_string(), "flaky");
  calls = 0;
  ASSERT_TRUE(gateway.gateway->apply(plan_of(graph_plan({flaky.url(), b.url()}, nodes(1)))));
  EXPECT_EQ(body_of(gateway.post(kAsk)).at("by").as_string(), "b");
}

TEST(Graph, AStepThatTakesTooLongIsGivenUp) {
  Responder kept;
  Signal gone;
  RunningUpstream slow([&](const HttpRequest&, const Responder& responder) {
    kept = responder;
    kept->on_close([&] { gone.set(); });
  });
  RunningGateway gateway(graph_plan({slow.url()}, R"(
      - {name: root, type: sequence, steps: [{name: slow, route: a, timeout: 100ms}]}
)"));
  const auto response = gateway.post(kAsk);
  EXPECT_EQ(response.status, 504);
  EXPECT_TRUE(error_of(response).contains("graph ns/g, node root, step slow")) << response.body;
  EXPECT_TRUE(gone.wait());
  ASSERT_TRUE(gateway.gateway->apply(plan_of(graph_plan({slow.url()}, R"(
      - {name: root, type: sequence, steps: [{route: a}]}
)",
                                                        "    timeout: 100ms\n"))));
  EXPECT_TRUE(gateway.post(kAsk).body.contains("its time is over"));
  EXPECT_TRUE(gone.wait(2));
}

TEST(Graph, TheLastStepStreamsAndOthersDoNot) {
  RunningUpstream a(says("a"));
  Responder stream;
  Signal begun;
  RunningUpstream b([&](const HttpRequest& request, const Responder& responder) {
    EXPECT_TRUE(request.body.contains("\"stream\":true"));
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    responder->write("data: 1\n\n");
    stream = responder;
    begun.set();
  });
  RunningGateway gateway(graph_plan({a.url(), b.url()}, R"(
      - {name: root, type: sequence, steps: [{route: a}, {route: b, timeout: 5s}]}
)"));
  std::string got;
  Signal some;
  Signal ended;
  gateway.client.request({.method = "POST",
                          .url = gateway.url("/v1/completions"),
                          .body = R"({"model":"g","prompt":"hi","stream":true})"},
                         {.on_data =
                              [&](std::string_view bytes) {
                                got += bytes;
                                some.set();
                              },
                          .on_end =
                              [&](const Outcome& outcome) {
                                EXPECT_TRUE(outcome);
                                ended.set();
                              }});
  ASSERT_TRUE(some.wait()) << "nothing waits for the end";
  ASSERT_TRUE(begun.wait());
  stream->write("data: 2\n\n");
  stream->finish();
  ASSERT_TRUE(ended.wait());
  EXPECT_EQ(got, "data: 1\n\ndata: 2\n\n");
  EXPECT_FALSE(a.handler->seen().front().body.contains("stream"));
}

TEST(Graph, ANodeThatIsGivenUpIsHeardNoMore) {
  Responder kept;
  Signal gone;
  RunningUpstream slow([&](const HttpRequest&, const Responder& responder) {
    kept = responder;
    kept->on_close([&] { gone.set(); });
  });
  RunningUpstream b(says("b"));
  RunningGateway gateway(graph_plan({slow.url(), b.url()}, R"(
      - {name: inner, type: sequence, steps: [{route: a}, {route: b}]}
      - {name: spare, type: sequence, steps: [{route: b}]}
      - {name: root, type: sequence, steps: [{node: inner, timeout: 100ms, fallback: spare}]}
)"));
  EXPECT_EQ(body_of(gateway.post(kAsk)).at("by").as_string(), "b");
  EXPECT_TRUE(gone.wait()) << "its request goes with it";
  EXPECT_EQ(b.handler->count(), 1) << "and no other step of it follows";
}

TEST(Graph, AnEnsembleThatHasFailedEndsItsOtherSteps) {
  Responder kept;
  Signal arrived;
  Signal gone;
  RunningUpstream slow([&](const HttpRequest&, const Responder& responder) {
    kept = responder;
    kept->on_close([&] { gone.set(); });
    arrived.set();
  });
  RunningUpstream bad([&](const HttpRequest& request, const Responder& responder) {
    EXPECT_TRUE(arrived.wait());
    fails(418)(request, responder);
  });
  RunningUpstream c([&](const HttpRequest& request, const Responder& responder) {
    EXPECT_TRUE(gone.wait()) << "they have ended when the next step begins";
    says("c")(request, responder);
  });
  RunningGateway gateway(graph_plan({slow.url(), bad.url(), c.url()}, R"(
      - {name: both, type: ensemble, steps: [{route: a}, {route: b, dependency: hard}]}
      - {name: root, type: sequence, steps: [{node: both}, {route: c}]}
)"));
  EXPECT_EQ(body_of(gateway.post(kAsk)).at("by").as_string(), "c");
}

TEST(Graph, ANodesTimeIsOverWithTheFirstByteOfItsStream) {
  Responder stream;
  RunningUpstream a([&](const HttpRequest&, const Responder& responder) {
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    responder->write("data: 1\n\n");
    stream = responder;
  });
  Responder kept;
  RunningUpstream never([&](const HttpRequest&, const Responder& responder) { kept = responder; });
  RunningGateway gateway(graph_plan({a.url(), never.url()}, R"(
      - {name: inner, type: sequence, steps: [{route: a}]}
      - name: root
        type: switch
        steps:
          - {node: inner, timeout: 50ms, condition: '[@this].#(lang==de)'}
          - {route: b, condition: '@this'}
)",
                                    "    timeout: 100ms\n"));
  std::string got;
  Signal some;
  Signal ended;
  gateway.client.request({.method = "POST",
                          .url = gateway.url("/v1/completions"),
                          .body = R"({"model":"g","prompt":"hi","stream":true,"lang":"de"})"},
                         {.on_data =
                              [&](std::string_view bytes) {
                                got += bytes;
                                some.set();
                              },
                          .on_end = [&](const Outcome&) { ended.set(); }});
  ASSERT_TRUE(some.wait());
  EXPECT_EQ(gateway.post(kAsk).status, 504) << "it began later, and its time is over";
  EXPECT_EQ(ended.count(), 0);
  stream->write("data: 2\n\n");
  stream->finish();
  ASSERT_TRUE(ended.wait());
  EXPECT_EQ(got, "data: 1\n\ndata: 2\n\n");
}

TEST(Graph, AClientThatLeavesEndsItsSteps) {
  Signal gone;
  Responder kept;
  RunningUpstream slow([&](const HttpRequest&, const Responder& responder) {
    kept = responder;
    kept->on_close([&] { gone.set(); });
  });
  RunningGateway gateway(
      graph_plan({slow.url()}, "      - {name: root, type: sequence, steps: [{route: a}]}\n"));
  auto call = gateway.client.request(
      {.method = "POST", .url = gateway.url("/v1/completions"), .body = kAsk}, {});
  ASSERT_TRUE(slow.handler->arrived.wait());
  call.cancel();
  EXPECT_TRUE(gone.wait());
}

TEST(Graph, StepsByUrlGetTheHeadersThatAreNamed) {
  RunningUpstream service(says("service"));
  RunningUpstream a(says("a"));
  RunningGateway gateway(graph_plan({a.url()},
                                    "      - {name: root, type: sequence, steps: [{url: \"" +
                                        service.url() + "/run?x=1\", map_predictions: true}]}\n",
                                    "    headers: [X-Kind]\n"));
  const auto response =
      gateway.post(R"({"model":"g","predictions":[1]})", {{"X-Kind", "k"}, {"X-Other", "o"}});
  EXPECT_EQ(body_of(response).at("saw").at("instances").at(0).as_int64(), 1);
  const auto seen = service.handler->seen();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].target, "/run?x=1");
  EXPECT_EQ(seen[0].header("x-kind"), "k");
  EXPECT_EQ(seen[0].header("x-other"), "");
  EXPECT_EQ(seen[0].header("traceparent").size(), 55u);
}

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
