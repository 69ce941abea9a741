// The whole gateway in one process: clients on one side, scripted upstreams on the other.
#include "gateway/gateway.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/files.h"
#include "gateway/gateway_test_support.h"
#include "net/test_support.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using net::testing::RawClient;
using net::testing::Signal;
using Responder = std::shared_ptr<net::Responder>;

// An upstream that answers as the test says, on its own loop.
class ScriptedUpstream : public net::HttpHandler {
 public:
  using Script = std::function<void(HttpRequest, Responder)>;

  explicit ScriptedUpstream(Script script) : script_(std::move(script)) {}

  static HttpResponse json(std::string body, int status = 200) {
    return {.status = status,
            .headers = {{"Content-Type", "application/json"}},
            .body = std::move(body)};
  }

  void handle(HttpRequest request, Responder responder) override {
    if (request.path == "/ready") return responder->send({.body = "ready"});
    {
      const std::lock_guard lock(mutex_);
      seen_.push_back(request);
    }
    arrived.set();
    script_(std::move(request), std::move(responder));
  }

  std::vector<HttpRequest> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  int count() const { return static_cast<int>(seen().size()); }

  Signal arrived;

 private:
  const Script script_;
  mutable std::mutex mutex_;
  std::vector<HttpRequest> seen_;
};

struct RunningUpstream {
  explicit RunningUpstream(ScriptedUpstream::Script script)
      : handler(std::make_shared<ScriptedUpstream>(std::move(script))),
        server(*net::HttpServer::start({}, handler)) {}
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server->port()); }

  std::shared_ptr<ScriptedUpstream> handler;
  std::unique_ptr<net::HttpServer> server;
};

ScriptedUpstream::Script answers(const std::string& name) {
  return [name](const HttpRequest& request, const Responder& responder) {
    responder->send(
        ScriptedUpstream::json("{\"who\":\"" + name + "\",\"saw\":" + request.body + "}"));
  };
}
ScriptedUpstream::Script fails(int status, net::Headers headers = {}) {
  return [status, headers](const HttpRequest&, const Responder& responder) {
    HttpResponse response = ScriptedUpstream::json("{\"error\":\"no\"}", status);
    for (const auto& header : headers) response.headers.push_back(header);
    responder->send(std::move(response));
  };
}

struct RunningGateway {
  explicit RunningGateway(const std::string& yaml) : workers(1, 64) {
    loop = *net::EventLoop::create();
    gateway =
        std::make_shared<Gateway>(testing::plan_of(yaml), std::vector{loop}, workers, metrics);
    const Outcome opened = gateway->open();
    EXPECT_TRUE(opened) << opened.error().message();
    net::ServerOptions options;
    options.loops = {loop};
    server = *net::HttpServer::start(std::move(options), gateway);
  }
  ~RunningGateway() {
    server.reset();
    gateway.reset();
  }

  std::string url(std::string_view path) const {
    return "http://127.0.0.1:" + std::to_string(server->port()) + std::string(path);
  }
  HttpResponse post(std::string body, net::Headers headers = {},
                    std::string path = "/v1/completions") {
    auto response = client.fetch({.method = "POST",
                                  .url = url(path),
                                  .headers = std::move(headers),
                                  .body = std::move(body)});
    if (!response) ADD_FAILURE() << response.error().message();
    return response ? *response : HttpResponse{.status = 0};
  }
  HttpResponse get(std::string_view path, net::Headers headers = {}) {
    return client.fetch({.url = url(path), .headers = std::move(headers)})
        .value_or(HttpResponse{.status = 0});
  }

  telemetry::Metrics metrics;
  WorkerPool workers;
  std::shared_ptr<net::EventLoop> loop;
  std::shared_ptr<Gateway> gateway;
  std::unique_ptr<net::HttpServer> server;
  net::HttpClient client;
};

// One public route over the given upstreams' URLs; `more` goes into the route.
std::string plan_text(const std::vector<std::string>& urls, const std::string& more = "",
                      const std::string& upstream = "") {
  std::string text =
      "upstreams:\n  - name: u\n    health: {active: false}\n" + upstream + "    endpoints:\n";
  for (size_t i = 0; i < urls.size(); ++i) {
    text += "      - {url: \"" + urls[i] + "\", name: r" + std::to_string(i) + "}\n";
  }
  return text + "routes:\n  - name: r\n    public: true\n    policy: round_robin\n" +
         (more.contains("targets:") ? "" : "    targets: [{upstream: u}]\n") + more;
}

constexpr const char* kBody = R"({"model":"m","prompt":"hi"})";

TEST(Relay, PassesRequestAndAnswerOn) {
  RunningUpstream upstream(answers("a"));
  RunningGateway gateway(plan_text({upstream.url()}, "    targets: [{upstream: u, model: real}]\n",
                                   "    api_key: {env: X}\n    path_prefix: /base\n"));
  const auto response =
      gateway.post(kBody, {{"Authorization", "Bearer not-for-upstreams"}, {"X-Api-Version", "2"}});
  // On a route without keys a key that nobody knows is refused all the same.
  EXPECT_EQ(response.status, 401);
  const auto good = gateway.post(kBody, {{"X-Api-Version", "2"}});
  EXPECT_EQ(good.status, 200);
  EXPECT_EQ(good.body, R"({"who":"a","saw":{"model":"real","prompt":"hi"}})");
  EXPECT_FALSE(net::find_header(good.headers, "x-request-id").empty());
  const auto seen = upstream.handler->seen();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].target, "/base/v1/completions");
  EXPECT_EQ(seen[0].header("authorization"), "Bearer secret");
  EXPECT_EQ(seen[0].header("x-api-version"), "2");
  EXPECT_EQ(seen[0].header("x-request-id"), net::find_header(good.headers, "x-request-id"));
  EXPECT_EQ(seen[0].header("traceparent").size(), 55u);
}

TEST(Relay, RetriesElsewhereBeforeTheFirstByte) {
  RunningUpstream bad(fails(500));
  RunningUpstream good(answers("good"));
  RunningGateway gateway(plan_text({bad.url(), good.url()}, "    retry: {backoff: 1ms}\n"));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(gateway.post(kBody).status, 200);
  EXPECT_GT(bad.handler->count(), 0);
  EXPECT_EQ(good.handler->count(), 6);
}

TEST(Relay, ADeadReplicaIsPassedOver) {
  std::string dead;
  {
    const net::Fd closed = *net::listen_on("127.0.0.1", 0);
    dead = "http://127.0.0.1:" + std::to_string(net::local_port(closed.get()));
  }
  RunningUpstream good(answers("good"));
  RunningGateway gateway(plan_text({dead, good.url()}));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(gateway.post(kBody).status, 200);
}

TEST(Relay, RetriesAreBounded) {
  RunningUpstream bad(fails(503));
  RunningGateway gateway(
      plan_text({bad.url()},
                "    retry: {attempts: 3, backoff: 1ms, budget_ratio: 0, budget_per_second: 2}\n",
                "    breaker: {consecutive_failures: 1000}\n"));
  EXPECT_EQ(gateway.post(kBody).status, 503);
  EXPECT_EQ(bad.handler->count(), 3) << "the budget had two";
  EXPECT_EQ(gateway.post(kBody).status, 503);
  EXPECT_LE(bad.handler->count(), 5);
}

TEST(Relay, WhatIsNotListedIsPassedOnAsItIs) {
  RunningUpstream upstream(fails(404));
  RunningGateway gateway(plan_text({upstream.url()}));
  const auto response = gateway.post(kBody);
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.body, "{\"error\":\"no\"}");
  EXPECT_EQ(upstream.handler->count(), 1);
}

TEST(Relay, OurOwnCredentialsBeingRefusedIsNotTheClientsFault) {
  RunningUpstream upstream(fails(401));
  RunningGateway gateway(plan_text({upstream.url()}));
  EXPECT_EQ(gateway.post(kBody).status, 503);
}

TEST(Relay, RetryAfterIsObeyedAndPassedOnWhenTooLong) {
  RunningUpstream busy(fails(429, {{"Retry-After", "30"}}));
  RunningGateway gateway(plan_text({busy.url()}));
  const auto response = gateway.post(kBody);
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(net::find_header(response.headers, "retry-after"), "30");
  EXPECT_EQ(busy.handler->count(), 1);
  EXPECT_EQ(gateway.post(kBody).status, 503) << "the replica is left alone";
  EXPECT_EQ(busy.handler->count(), 1);
}

TEST(Relay, FallbacksGoByErrorClass) {
  RunningUpstream full(fails(429));
  RunningUpstream other(answers("other"));
  std::string plan = plan_text({full.url()},
                               "    retry: {attempts: 0}\n"
                               "    fallbacks:\n"
                               "      - {upstream: v, on: [connect]}\n"
                               "      - {upstream: v, on: [rate_limited], model: spare}\n");
  plan.insert(plan.find("routes:"), "  - {name: v, health: {active: false}, endpoints: [{url: \"" +
                                        other.url() + "\"}]}\n");
  RunningGateway gateway(plan);
  const auto response = gateway.post(kBody);
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.body.contains("\"model\":\"spare\""));
}

TEST(Relay, StreamsPassThroughAsTheyCome) {
  Responder stream;
  Signal begun;
  RunningUpstream upstream([&](const HttpRequest&, const Responder& responder) {
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    responder->write("data: 1\n\n");
    stream = responder;
    begun.set();
  });
  RunningGateway gateway(plan_text({upstream.url()}));
  std::string got;
  Signal first_seen;
  Signal ended;
  gateway.client.request({.method = "POST", .url = gateway.url("/v1/completions"), .body = kBody},
                         {.on_data =
                              [&](std::string_view bytes) {
                                got += bytes;
                                first_seen.set();
                              },
                          .on_end =
                              [&](const Outcome& outcome) {
                                EXPECT_TRUE(outcome);
                                ended.set();
                              }});
  ASSERT_TRUE(begun.wait());
  ASSERT_TRUE(first_seen.wait()) << "nothing waits for the end";
  stream->write("data: 2\n\n");
  stream->finish();
  ASSERT_TRUE(ended.wait());
  EXPECT_EQ(got, "data: 1\n\ndata: 2\n\n");
}

TEST(Relay, ACutStreamEndsWithAnErrorThatClientsSee) {
  RunningUpstream upstream([](const HttpRequest&, const Responder& responder) {
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    responder->write("data: 1\n\nda");
  });
  RunningGateway gateway(plan_text({upstream.url()}));
  const auto response = gateway.post(kBody);
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.body.starts_with("data: 1\n\nda\n\ndata: {\"error\":{")) << response.body;
  EXPECT_EQ(upstream.handler->count(), 1) << "never again after the first byte";
}

TEST(Relay, ACutWholeAnswerIsTriedAgain) {
  std::atomic<int> calls = 0;
  RunningUpstream upstream([&](const HttpRequest&, const Responder& responder) {
    if (calls++ > 0) return responder->send(ScriptedUpstream::json("{}"));
    responder->start(500, {});
    responder->write("half");
  });
  RunningGateway gateway(plan_text({upstream.url()}, "    retry: {backoff: 1ms}\n"));
  EXPECT_EQ(gateway.post(kBody).status, 200);
}

TEST(Relay, AClientThatLeavesFreesTheUpstream) {
  Signal cancelled;
  Responder held;
  RunningUpstream upstream([&](const HttpRequest&, const Responder& responder) {
    responder->on_close([&] { cancelled.set(); });
    held = responder;
  });
  RunningGateway gateway(plan_text({upstream.url()}));
  {
    RawClient client(gateway.server->port());
    client.send(
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\n{\"model\":\"m\"}");
    ASSERT_TRUE(upstream.handler->arrived.wait());
    client.reset();
  }
  EXPECT_TRUE(cancelled.wait());
}

TEST(Relay, SilenceEndsInTime) {
  std::vector<Responder> held;
  RunningUpstream upstream(
      [&](const HttpRequest&, const Responder& responder) { held.push_back(responder); });
  RunningGateway gateway(
      plan_text({upstream.url()},
                "    retry: {attempts: 1, backoff: 1ms}\n    timeouts: {first_byte: 20ms}\n"));
  EXPECT_EQ(gateway.post(kBody).status, 504);
  EXPECT_EQ(upstream.handler->count(), 2);

  RunningGateway whole(plan_text({upstream.url()}, "    timeouts: {total: 30ms}\n"));
  EXPECT_EQ(whole.post(kBody).status, 504);
  EXPECT_EQ(upstream.handler->count(), 3);
}

TEST(Relay, HedgesASlowFirstByte) {
  Responder slow;
  Signal cancelled;
  RunningUpstream first([&](const HttpRequest&, const Responder& responder) {
    responder->on_close([&] { cancelled.set(); });
    slow = responder;
  });
  RunningUpstream second(answers("second"));
  RunningGateway gateway(
      plan_text({first.url(), second.url()}, "    hedge: {after: 10ms, budget_ratio: 1}\n"));
  EXPECT_TRUE(gateway.post(kBody).body.contains("second"));
  EXPECT_TRUE(cancelled.wait()) << "the loser is stopped";
}

TEST(Relay, TheQueueHoldsWhatItMay) {
  std::vector<Responder> held;
  std::mutex mutex;
  Signal holds;
  RunningUpstream upstream([&](const HttpRequest&, const Responder& responder) {
    const std::lock_guard lock(mutex);
    held.push_back(responder);
    holds.set();
  });
  const auto answer = [&](size_t i) {
    const std::lock_guard lock(mutex);
    held[i]->send(ScriptedUpstream::json("{}"));
  };
  RunningGateway gateway(plan_text(
      {upstream.url()}, "    queue: {max_concurrent: 1, max_waiting: 1, max_wait: 20s}\n"));
  const auto& admission = gateway.gateway->snapshot()->routes()[0]->memory()->admission;
  Signal ended;
  const auto send = [&] {
    gateway.client.request({.method = "POST", .url = gateway.url("/v1/completions"), .body = kBody},
                           {.on_end = [&](const Outcome&) { ended.set(); }});
  };
  send();
  ASSERT_TRUE(holds.wait(1));
  send();
  while (admission->waiting() == 0) {
  }
  EXPECT_EQ(gateway.post(kBody).status, 429);
  answer(0);
  ASSERT_TRUE(holds.wait(2));
  answer(1);
  EXPECT_TRUE(ended.wait(2));
}

TEST(Relay, CopiesAreComparedAndNeverSeen) {
  const auto says = [](const std::string& text) {
    return [text](const HttpRequest&, const Responder& responder) {
      responder->send(
          ScriptedUpstream::json("{\"id\":\"" + text + "\",\"text\":\"" + text + "\"}"));
    };
  };
  RunningUpstream primary(says("a"));
  RunningUpstream shadow(says("b"));
  std::string plan =
      plan_text({primary.url()}, "    mirror: {upstream: v, percent: 50, model: next}\n");
  plan.insert(plan.find("routes:"), "  - {name: v, health: {active: false}, endpoints: [{url: \"" +
                                        shadow.url() + "\"}]}\n");
  RunningGateway gateway(plan);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(gateway.post(kBody).body.contains("\"a\""));
  ASSERT_TRUE(shadow.handler->arrived.wait(5));
  EXPECT_EQ(primary.handler->count(), 10);
  EXPECT_EQ(shadow.handler->count(), 5);
  EXPECT_TRUE(shadow.handler->seen()[0].body.contains("next"));
  const std::string wanted =
      R"(sluice_gateway_mirror_compared_total{outcome="different_text",route="r"} 5)";
  while (!gateway.metrics.render(true, false).contains(wanted)) {
  }
}

TEST(AnswerDigest, ReadsTheTextWhateverIsAroundIt) {
  const auto digest = [](std::string_view text, size_t step) {
    AnswerDigest answer;
    for (; !text.empty(); text.remove_prefix(std::min(step, text.size()))) {
      answer.feed(text.substr(0, step));
    }
    return answer.value();
  };
  const std::string whole = R"({"id":"1","choices":[{"message":{"content": "He said \"hi\"."}}]})";
  const std::string stream =
      R"(data: {"id":"2","choices":[{"delta":{"role":"assistant","content":""}}]})"
      "\n\n"
      R"(data: {"delta":{"content":"He said \"h"}})"
      "\n\n"
      R"(data: {"delta":{"content":"i\"."}})"
      "\n\n";
  EXPECT_EQ(digest(whole, 1000), digest(stream, 1000));
  EXPECT_EQ(digest(whole, 1), digest(stream, 3));
  EXPECT_NE(digest(whole, 1000), digest(R"({"content":"He said \"ho\"."})", 1000));
  EXPECT_EQ(digest(R"({"content":null,"context":"x"})", 1000), AnswerDigest().value());
}

TEST(Gateway, KeysRoutesAndItsOwnPages) {
  RunningUpstream upstream(answers("a"));
  std::string plan = plan_text({upstream.url()}, "    match: {models: [m, n]}\n") +
                     "tenants:\n  - {name: t, keys: [{name: k, key: {env: K}, models: [m]}]}\n";
  plan.replace(plan.find("public: true"), 12, "public: false");
  RunningGateway gateway(plan);
  const net::Headers key = {{"Authorization", "Bearer secret"}};
  EXPECT_EQ(gateway.get("/health").status, 200);
  EXPECT_EQ(gateway.get("/ready").status, 200);
  EXPECT_EQ(gateway.post(kBody).status, 401);
  EXPECT_EQ(gateway.post(kBody, {{"Authorization", "Bearer wrong"}}).status, 401);
  EXPECT_EQ(
      gateway.post(kBody, {{"Authorization", "Bearer secret"}, {"X-Api-Key", "secret"}}).status,
      401);
  EXPECT_EQ(gateway.post(kBody, key).status, 200);
  EXPECT_EQ(gateway.post(kBody, {{"X-Api-Key", "secret"}}).status, 200);
  EXPECT_EQ(gateway.post(R"({"model":"n"})", key).status, 404);
  EXPECT_EQ(gateway.post(R"({"model":"none"})", key).status, 404);
  EXPECT_EQ(gateway.post("{", key).status, 400);
  EXPECT_EQ(gateway.get("/v1/models").status, 401);
  EXPECT_TRUE(gateway.get("/v1/models", key).body.contains("\"id\":\"m\""));
  EXPECT_FALSE(gateway.get("/v1/models", key).body.contains("\"id\":\"n\""));
  EXPECT_EQ(gateway.get("/v1/models/m", key).status, 200);
  EXPECT_EQ(gateway.get("/v1/models/n", key).status, 404);
  EXPECT_EQ(gateway.get("/metrics", key).status, 403);
  EXPECT_EQ(gateway.get("/version", key).status, 200);
  EXPECT_EQ(upstream.handler->count(), 2);
  const std::string page = gateway.metrics.render(true, false);
  EXPECT_FALSE(page.contains("none")) << "no label of a caller's making";
  EXPECT_TRUE(
      page.contains(R"(sluice_gateway_requests_total{model="m",route="r",status="200"} 2)"));
}

TEST(Gateway, AReloadChangesRoutesUnderWay) {
  RunningUpstream a(answers("a"));
  RunningUpstream b(answers("b"));
  RunningGateway gateway(plan_text({a.url()}));
  EXPECT_TRUE(gateway.post(kBody).body.contains("\"a\""));
  EXPECT_TRUE(gateway.gateway->apply(testing::plan_of(plan_text({b.url()}))));
  EXPECT_TRUE(gateway.post(kBody).body.contains("\"b\""));
  const auto moved =
      gateway.gateway->apply(testing::plan_of("listen: \":1\"\n" + plan_text({b.url()})));
  EXPECT_FALSE(moved);
  EXPECT_TRUE(gateway.post(kBody).body.contains("\"b\""));
}

TEST(Gateway, LogsEachRequestWithoutItsSecrets) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("gateway_test_" + std::to_string(::getpid()) + ".log");
  std::filesystem::remove(path);
  {
    RunningUpstream upstream(answers("a"));
    RunningGateway gateway("access_log: {path: " + path.string() + "}\n" +
                           plan_text({upstream.url()}));
    gateway.post(R"({"model":"m","prompt":"my-secret-prompt"})", {},
                 "/v1/completions?key=my-secret-key");
    gateway.post(kBody, {{"Authorization", "Bearer my-secret-key"}});
  }
  const std::string log = *read_file(path, 1 << 20);
  std::filesystem::remove(path);
  EXPECT_EQ(std::ranges::count(log, '\n'), 2);
  EXPECT_TRUE(log.contains("\"route\":\"r\"") && log.contains("\"replica\":\"r0\""));
  EXPECT_TRUE(log.contains("\"status\":401"));
  EXPECT_FALSE(log.contains("secret"));
}

TEST(Watcher, ChecksAndDiscoversReplicas) {
  RunningUpstream upstream(answers("a"));
  const auto path = std::filesystem::temp_directory_path() /
                    ("gateway_test_" + std::to_string(::getpid()) + ".txt");
  ASSERT_TRUE(write_file_atomically(path, "# replicas\n" + upstream.url() + " one 2\n"));
  RunningGateway gateway(
      "upstreams:\n  - {name: u, file: {path: " + path.string() +
      ", refresh: 50ms}}\nroutes:\n  - {name: r, public: true, targets: [{upstream: u}]}\n");
  EXPECT_EQ(gateway.get("/ready").status, 503);
  EXPECT_EQ(gateway.post(kBody).status, 503);
  gateway.gateway->begin();
  while (gateway.get("/ready").status != 200) {
  }
  EXPECT_EQ(gateway.post(kBody).status, 200);
  const auto replicas = gateway.gateway->snapshot()->upstreams().at("u")->replicas();
  ASSERT_EQ(replicas->size(), 1u);
  EXPECT_EQ(replicas->front()->info().name, "one");
  EXPECT_EQ(replicas->front()->weight(), 2);
  gateway.gateway->end();
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace sluice::gateway
