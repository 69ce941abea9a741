// The gateway's own pages, keys, reloads and log, before scripted upstreams.
#include "gateway/gateway.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "gateway/forward.h"
#include "gateway/mirror.h"
#include "gateway/running_test_support.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using testing::answers;
using testing::kBody;
using testing::plan_text;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;

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

TEST(Gateway, AReloadRefusesByNameWhatOnlyAStartCanChange) {
  RunningUpstream a(answers("a"));
  const std::string plan = plan_text({a.url()});
  RunningGateway gateway(plan);
  for (const auto& [field, text] : std::vector<std::pair<std::string, std::string>>{
           {"listen", "listen: \":1\"\n"},
           {"server.max_connections", "server: {max_connections: 7}\n"},
           {"server.max_body", "server: {max_body: 7MiB}\n"},
           {"access_log.path", "access_log: {path: \"-\"}\n"},
           {"usage.path", "usage: {path: /nowhere}\n"}}) {
    const auto applied = gateway.gateway->apply(testing::plan_of(text + plan));
    ASSERT_FALSE(applied) << field;
    EXPECT_TRUE(applied.error().message().starts_with(field + ": ")) << applied.error().message();
  }
  EXPECT_TRUE(gateway.gateway->apply(testing::plan_of("server: {metrics_public: true}\n" + plan)));
}

// Keeps the answer.
struct KeepingResponder : net::Responder {
  void send(HttpResponse response) override { answer = std::move(response); }
  void start(int, net::Headers) override {}
  bool write(std::string_view) override { return true; }
  void finish() override {}
  void on_close(std::function<void()>) override {}
  bool closed() const override { return false; }

  HttpResponse answer;
};

TEST(Gateway, AKeyIsJudgedOnceAndByOnePlan) {
  RunningUpstream a(answers("a"));
  const auto with_key = [&](const std::string& key) {
    return plan_text({a.url()}, "    match: {models: [m]}\n") +
           "tenants:\n  - {name: t, keys: [{name: k, " + key + "}]}\n";
  };
  RunningGateway gateway(with_key("key: {env: K}"));
  HttpRequest request = testing::request_of("/v1/models", {{"authorization", "Bearer secret"}});
  request.method = "GET";
  HttpRequest later = request;
  EXPECT_FALSE(gateway.gateway->refuse(request));
  EXPECT_TRUE(
      gateway.gateway->apply(testing::plan_of(with_key("sha256: " + std::string(64, 'a')))));
  const auto responder = std::make_shared<KeepingResponder>();
  gateway.gateway->handle(request, responder);
  EXPECT_EQ(responder->answer.status, 200) << "let in under the plan before";
  EXPECT_FALSE(net::find_header(responder->answer.headers, "x-request-id").empty());
  gateway.gateway->handle(later, responder);
  EXPECT_EQ(responder->answer.status, 401) << "nobody has judged this one";
  const auto refused = gateway.gateway->refuse(later);
  ASSERT_TRUE(refused);
  EXPECT_FALSE(net::find_header(refused->headers, "x-request-id").empty());
}

TEST(Gateway, ItsClientsHaveRoomForAllThatItLetsIn) {
  const auto plan = testing::plan_of(
      "server: {max_connections: 9000}\n" +
      plan_text({"http://127.0.0.1:1"}, "    mirror: {upstream: u, max_in_flight: 5000}\n"));
  EXPECT_GE(client_options(*plan).max_connections, 2u * 9000 + 5000);
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
    gateway.post(kBody, {}, "/predictors/my-secret-path/v1/completions");
  }
  const std::string log = *read_file(path, 1 << 20);
  std::filesystem::remove(path);
  EXPECT_EQ(std::ranges::count(log, '\n'), 3);
  EXPECT_TRUE(log.contains("\"/predictors/-/v1/completions\""));
  EXPECT_TRUE(log.contains("\"route\":\"r\"") && log.contains("\"replica\":\"r0\""));
  EXPECT_TRUE(log.contains("\"status\":401"));
  EXPECT_FALSE(log.contains("secret"));
}

TEST(Watcher, LooksAtAFailingReplicaMoreOften) {
  std::atomic<int> checks = 0;
  RunningUpstream upstream([&checks](const HttpRequest&, const Responder& responder) {
    responder->send({.status = ++checks < 4 ? 503 : 200});
  });
  RunningGateway gateway("upstreams:\n  - {name: u, endpoints: [{url: '" + upstream.url() +
                         "'}], health: {path: /alive, interval: 1h, unhealthy_after: 1}}\n"
                         "routes:\n  - {name: r, public: true, targets: [{upstream: u}]}\n");
  gateway.gateway->begin();
  while (gateway.get("/ready").status == 200) {
  }
  while (gateway.get("/ready").status != 200) {
  }
  EXPECT_EQ(checks, 4);
  gateway.gateway->end();
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

TEST(Gateway, APrefixLeadsToItsRouteWhoeverAsks) {
  RunningUpstream inner(answers("inner"));
  RunningUpstream outer(answers("outer"));
  RunningGateway gateway(
      "upstreams:\n  - {name: i, health: {active: false}, endpoints: [{url: \"" + inner.url() +
      "\"}]}\n  - {name: o, health: {active: false}, endpoints: [{url: \"" + outer.url() +
      "\"}]}\nroutes:\n"
      "  - {name: inner, public: true, match: {prefix: /predictors/x1}, targets: [{upstream: i}]}\n"
      "  - {name: outer, match: {models: [m]}, targets: [{upstream: o}]}\n"
      "tenants: [{name: t, keys: [{name: k, key: {env: KEY}}]}]\n");
  const auto ask = [&](const std::string& path, net::Headers headers = {}) {
    return gateway.post(kBody, std::move(headers), path);
  };
  const auto found = ask("/predictors/x1/v1/models/m:predict?a=b");
  EXPECT_EQ(found.status, 200);
  EXPECT_TRUE(found.body.contains("\"inner\""));
  EXPECT_EQ(inner.handler->seen()[0].target, "/v1/models/m:predict?a=b");
  // Keys that the server before it passes on are not looked at, nor paid with.
  EXPECT_EQ(ask("/predictors/x1/v1/completions", {{"Authorization", "Bearer wrong"}}).status, 200);
  EXPECT_EQ(ask("/predictors/x1/metrics").body.substr(0, 7), "{\"who\":") << "no page of ours";
  for (const char* other : {"/predictors/x2/v1/completions", "/predictors/x1%2Fv1/completions",
                            "/predictors/%781/v1/completions", "/predictors/x11/v1/completions"}) {
    EXPECT_EQ(ask(other).status, 401) << other;
  }
  const std::string key = "Bearer secret";
  EXPECT_TRUE(ask("/v1/completions", {{"Authorization", key}}).body.contains("\"outer\""));
}

}  // namespace
}  // namespace sluice::gateway
