// Requests through the whole gateway: clients on one side, scripted upstreams on the other.
#include "gateway/relay.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "gateway/mirror.h"
#include "gateway/running_test_support.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using net::testing::RawClient;
using net::testing::Signal;
using testing::answers;
using testing::fails;
using testing::kBody;
using testing::plan_text;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;
using testing::ScriptedUpstream;

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

TEST(Relay, ErrorsSpeakTheClientsDialect) {
  std::string dead;
  {
    const net::Fd closed = *net::listen_on("127.0.0.1", 0);
    dead = "http://127.0.0.1:" + std::to_string(net::local_port(closed.get()));
  }
  RunningGateway gateway(plan_text({dead}, "    retry: {attempts: 0}\n"));
  const auto anthropic = gateway.post(kBody, {}, "/v1/messages");
  EXPECT_EQ(anthropic.status, 503);
  EXPECT_TRUE(anthropic.body.starts_with(R"({"type":"error","error":{)")) << anthropic.body;
  EXPECT_FALSE(net::find_header(anthropic.headers, "x-request-id").empty());
  const auto oip = gateway.post(kBody, {}, "/v2/models/m/infer");
  EXPECT_EQ(oip.status, 503);
  EXPECT_TRUE(oip.body.starts_with(R"({"error":")")) << oip.body;
  const auto kserve = gateway.post(kBody, {}, "/v1/models/m:predict");
  EXPECT_TRUE(kserve.body.starts_with(R"({"error":")")) << kserve.body;
  EXPECT_TRUE(gateway.post(kBody).body.starts_with(R"({"error":{)"));
}

TEST(Relay, ACutStreamSpeaksTheClientsDialect) {
  RunningUpstream upstream([](const HttpRequest&, const Responder& responder) {
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    responder->write("data: 1\n\n");
  });
  RunningGateway gateway(plan_text({upstream.url()}));
  EXPECT_TRUE(gateway.post(kBody, {}, "/v1/messages")
                  .body.starts_with("data: 1\n\nevent: error\ndata: {\"type\":\"error\""));
  EXPECT_TRUE(gateway.post(kBody, {}, "/v2/models/m/generate_stream")
                  .body.starts_with("data: 1\n\ndata: {\"error\":\""));
}

TEST(Relay, TheRequestsOwnTimeSaysNothingOfTheReplica) {
  std::vector<Responder> held;
  RunningUpstream upstream([&](const HttpRequest& request, const Responder& responder) {
    if (request.path == "/stream") {
      responder->start(200, {{"Content-Type", "text/event-stream"}});
      responder->write("data: 1\n\n");
    }
    held.push_back(responder);
  });
  RunningGateway gateway(plan_text({upstream.url()}, "    timeouts: {total: 30ms}\n",
                                   "    breaker: {consecutive_failures: 1}\n"));
  EXPECT_EQ(gateway.post(kBody).status, 504);
  const auto cut = gateway.post(kBody, {}, "/stream");
  EXPECT_TRUE(cut.body.contains("deadline")) << cut.body;
  const auto replica = gateway.gateway->snapshot()->upstreams().at("u")->replicas()->front();
  while (replica->outstanding() > 0) {
  }
  EXPECT_EQ(replica->breaker_state(), CircuitBreaker::State::kClosed);
  EXPECT_EQ(replica->uses(UseResult::kHung), 0u);
}

TEST(Relay, WhatCannotBeSentIsNotTheReplicasFault) {
  RunningUpstream good(answers("good"));
  RunningGateway gateway(plan_text({"http://name.invalid:8000", good.url()}, "",
                                   "    breaker: {consecutive_failures: 1}\n"));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(gateway.post(kBody).status, 200);
  const auto replica = gateway.gateway->snapshot()->upstreams().at("u")->replicas()->front();
  EXPECT_EQ(replica->breaker_state(), CircuitBreaker::State::kClosed);
  EXPECT_GE(replica->uses(UseResult::kUntold), 2u);
  EXPECT_EQ(replica->take_sample(system_clock().now()).requests, 0);
}

}  // namespace
}  // namespace sluice::gateway
