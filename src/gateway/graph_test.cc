// Graphs through the whole gateway, before scripted upstreams.
#include "gateway/graph.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "gateway/graph_body.h"
#include "gateway/graph_run.h"
#include "gateway/graph_test_support.h"
#include "gateway/running_test_support.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::testing::Signal;
using testing::body_of;
using testing::error_of;
using testing::fails;
using testing::graph_plan;
using testing::kAsk;
using testing::plan_of;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;
using testing::says;
using testing::ScriptedUpstream;

// Tells which thread it went on.
struct Token {
  explicit Token(std::atomic<std::thread::id>& where) : gone_on(where) {}
  ~Token() { gone_on = std::this_thread::get_id(); }
  std::atomic<std::thread::id>& gone_on;
};

TEST(StepHost, WhatItsWorkHoldsGoesOnTheLoopsThread) {
  const auto loop = *net::EventLoop::create();
  std::jthread thread([&] { loop->run(); });
  WorkerPool workers(1, 8);
  StepHost host{.clock = system_clock(), .workers = workers, .ask = {}, .on_over = {}};
  std::atomic<std::thread::id> asked_gone;
  std::atomic<std::thread::id> told_gone;
  Signal told;
  // The worker begins when the task alone holds them.
  Signal begin;
  ASSERT_TRUE(workers.submit([&] { begin.wait(); }));
  {
    // Held as constants, which are copied where others are moved.
    const auto asked = std::make_shared<Token>(asked_gone);
    const auto after = std::make_shared<Token>(told_gone);
    ASSERT_TRUE(host.work(
        *loop, [asked] { return 7; },
        [after, &told](int result) {
          EXPECT_EQ(result, 7);
          told.set();
        }));
  }
  begin.set();
  told.wait();
  Signal idle;
  ASSERT_TRUE(workers.submit([&] { idle.set(); }));  // the worker is done with the task before it
  idle.wait();
  const std::thread::id of_loop = thread.get_id();
  loop->stop();
  thread.join();
  EXPECT_EQ(asked_gone.load(), of_loop);
  EXPECT_EQ(told_gone.load(), of_loop);
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

// Its own record and the step's say so; the client is told by an event.
TEST(Graph, AStreamThatBreaksIsOnTheRecord) {
  const auto path =
      std::filesystem::temp_directory_path() / fmt::format("graph_test_{}.log", ::getpid());
  std::filesystem::remove(path);
  std::string got;
  {
    RunningUpstream a([&](const HttpRequest&, const Responder& responder) {
      responder->start(200, {{"Content-Type", "text/event-stream"}});
      responder->write("data: 1\n\n");
    });
    RunningGateway gateway(
        "access_log: {path: " + path.string() + "}\n" +
        graph_plan({a.url()}, "      - {name: root, type: sequence, steps: [{route: a}]}\n"));
    got = gateway.post(R"({"model":"g","prompt":"hi","stream":true})").body;
    gateway.get("/health");  // the loop has been round since
  }
  EXPECT_TRUE(got.starts_with("data: 1\n\ndata: {\"error\":")) << got;
  EXPECT_TRUE(got.ends_with("\n\n")) << got;
  const std::string log = *read_file(path, 1 << 20);
  std::filesystem::remove(path);
  const size_t at = log.find("\"route\":\"ns/g\"");
  ASSERT_NE(at, std::string::npos) << log;
  const std::string line = log.substr(at, log.find('\n', at) - at);
  EXPECT_TRUE(line.contains(R"("status":200,"ending":"cut","error":"graph_step_failed")")) << line;
  EXPECT_TRUE(line.contains(fmt::format("\"bytes_out\":{}", got.size()))) << line;
  EXPECT_TRUE(log.contains(R"("ending":"cut","error":"server_error")")) << log;
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

}  // namespace
}  // namespace sluice::gateway
