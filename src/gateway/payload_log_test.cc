// Payload logs: what sinks are told of requests and answers, and that nothing waits for them.
#include "gateway/payload_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gateway/running_test_support.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using testing::answers;
using testing::fails;
using testing::kBody;
using testing::plan_text;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;

constexpr std::string_view kRequestType = "org.kubeflow.serving.inference.request";
constexpr std::string_view kResponseType = "org.kubeflow.serving.inference.response";

testing::ScriptedUpstream::Script takes_all() {
  return [](const HttpRequest&, const Responder& responder) { responder->send({.status = 202}); };
}

std::string log_text(const std::string& url, const std::string& more = "") {
  return "    log: {url: \"" + url + "/sink\"" + (more.empty() ? "" : ", " + more) + "}\n";
}

// The events by type; of each type there is one.
std::map<std::string, HttpRequest> events_of(RunningUpstream& sink, int count) {
  EXPECT_TRUE(sink.handler->arrived.wait(count));
  std::map<std::string, HttpRequest> events;
  for (const HttpRequest& each : sink.handler->seen()) {
    EXPECT_TRUE(events.emplace(each.header("ce-type"), each).second);
  }
  return events;
}

std::string count_of(RunningGateway& gateway, const std::string& result) {
  const std::string name =
      "sluice_gateway_payload_events_total{result=\"" + result + "\",route=\"r\"} ";
  const std::string page = gateway.metrics.render(true, false);
  const size_t at = page.find(name);
  if (at == std::string::npos) return "0";
  return page.substr(at + name.size(), page.find('\n', at) - at - name.size());
}

TEST(PayloadLog, TellsOfRequestAndAnswerUnderOneId) {
  RunningUpstream upstream(answers("a"));
  RunningUpstream sink(takes_all());
  RunningGateway gateway(plan_text(
      {upstream.url()},
      log_text(sink.url(),
               R"(headers: [x-user], attributes: {inferenceservicename: s, namespace: "a b"})")));
  const auto answer = gateway.post(
      kBody, {{"Content-Type", "application/json"}, {"X-User", "Zo\xC3\xAB"}, {"X-Other", "no"}});
  EXPECT_EQ(answer.status, 200);
  auto events = events_of(sink, 2);
  const HttpRequest& asked = events[std::string(kRequestType)];
  const HttpRequest& said = events[std::string(kResponseType)];
  EXPECT_EQ(asked.path, "/sink");
  EXPECT_EQ(asked.body, kBody);
  EXPECT_EQ(said.body, answer.body);
  EXPECT_EQ(asked.header("ce-id"), net::find_header(answer.headers, "x-request-id"));
  EXPECT_EQ(said.header("ce-id"), asked.header("ce-id"));
  for (const HttpRequest* each : {&asked, &said}) {
    EXPECT_EQ(each->header("ce-specversion"), "1.0");
    EXPECT_EQ(each->header("ce-inferenceservicename"), "s");
    EXPECT_EQ(each->header("ce-namespace"), "a%20b");
    EXPECT_EQ(each->header("ce-metadata"), "{%22x-user%22:[%22Zo??%22]}");
    EXPECT_EQ(each->header("content-type"), "application/json");
    EXPECT_EQ(each->header("ce-time").size(), std::string("2026-01-01T00:00:00.000Z").size());
    EXPECT_EQ(each->header("authorization"), "");
  }
  EXPECT_EQ(asked.header("ce-status"), "");
  EXPECT_EQ(said.header("ce-status"), "200");
}

TEST(PayloadLog, ModesAndGivenIds) {
  RunningUpstream upstream(fails(500));
  RunningUpstream sink(takes_all());
  RunningGateway gateway(plan_text(
      {upstream.url()}, log_text(sink.url(), "mode: response") + "    retry: {attempts: 0}\n"));
  EXPECT_EQ(gateway.post(kBody, {{"ce-id", "mine-1"}}).status, 500);
  auto events = events_of(sink, 1);
  ASSERT_EQ(events.size(), 1u);
  // Failures are what one wants to see.
  EXPECT_EQ(events[std::string(kResponseType)].header("ce-status"), "500");
  EXPECT_EQ(events[std::string(kResponseType)].header("ce-id"), "mine-1");
  // No prediction, no event.
  EXPECT_EQ(gateway.get("/v2/models/m/ready").status, 500);
  EXPECT_EQ(gateway.post(kBody).status, 500);
  EXPECT_TRUE(sink.handler->arrived.wait(2));
  EXPECT_EQ(sink.handler->count(), 2);
}

TEST(PayloadLog, StreamsAreToldWholeAndCutWhereTheyAreTooLong) {
  const std::string first = "data: {\"choices\":[{\"text\":\"one\"}]}\n\n";
  const std::string second = "data: {\"choices\":[{\"text\":\"two\"}]}\n\n";
  RunningUpstream upstream([&](const HttpRequest&, const Responder& responder) {
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    responder->write(first);
    responder->write(second);
    responder->finish();
  });
  RunningUpstream sink(takes_all());
  const std::string body = R"({"model":"m","prompt":"hi","stream":true})";
  {
    RunningGateway gateway(plan_text({upstream.url()}, log_text(sink.url(), "mode: response")));
    EXPECT_EQ(gateway.post(body).body, first + second);
    auto events = events_of(sink, 1);
    const HttpRequest& said = events[std::string(kResponseType)];
    EXPECT_EQ(said.body, first + second);
    EXPECT_EQ(said.header("ce-stream"), "true");
    EXPECT_EQ(said.header("ce-truncated"), "");
  }
  RunningGateway gateway(plan_text({upstream.url()}, log_text(sink.url(), "max_body: 10")));
  EXPECT_EQ(gateway.post(body).body, first + second);
  EXPECT_TRUE(sink.handler->arrived.wait(3));
  const auto seen = sink.handler->seen();
  for (size_t i = 1; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].body.size(), 10u);
    EXPECT_EQ(seen[i].header("ce-truncated"), "true");
  }
}

// A sink that answers nothing holds nobody up; what it leaves undone is bounded, and counted.
TEST(PayloadLog, ASinkThatHangsCostsItsOwnEventsOnly) {
  RunningUpstream upstream(answers("a"));
  std::vector<Responder> held;
  std::mutex mutex;
  RunningUpstream sink([&](const HttpRequest&, const Responder& responder) {
    const std::lock_guard lock(mutex);
    held.push_back(responder);
  });
  RunningGateway gateway(plan_text({upstream.url()}, log_text(sink.url(), "mode: request")));
  EXPECT_EQ(gateway.post(kBody).status, 200);
  EXPECT_TRUE(sink.handler->arrived.wait(1));

  telemetry::Metrics metrics;
  GatewayMetrics counts(metrics);
  auto log = std::make_shared<PayloadLog>(counts, system_clock());
  const size_t most = PayloadLog::kMaxWaiting + PayloadLog::kMaxUnderWay;
  for (size_t i = 0; i < most + 10; ++i) {
    log->offer({.route = "r", .url = sink.url(), .body = "x", .timeout = std::chrono::minutes(1)});
  }
  const std::string page = metrics.render(true, false);
  EXPECT_TRUE(page.contains("sluice_gateway_payload_events_total{result=\"dropped\",route=\"r\"}"));
  log->offer({.route = "r", .url = "http://127.0.0.1:1/", .body = std::string(64u << 20, 'x')});
  log->stop();
  const std::lock_guard lock(mutex);
  held.clear();
}

TEST(PayloadLog, WhatCannotBeToldIsCounted) {
  RunningUpstream upstream(answers("a"));
  RunningUpstream sink(fails(500));
  RunningGateway gateway(plan_text({upstream.url()}, log_text(sink.url())));
  EXPECT_EQ(gateway.post(kBody).status, 200);
  EXPECT_TRUE(sink.handler->arrived.wait(2));
  gateway.gateway->end_reports();
  EXPECT_EQ(count_of(gateway, "failed"), "2");
  // No cloud's secrets are asked for, whatever a plan says.
  telemetry::Metrics metrics;
  GatewayMetrics counts(metrics);
  auto log = std::make_shared<PayloadLog>(counts, system_clock());
  log->offer({.route = "r", .url = "http://169.254.169.254/", .timeout = std::chrono::seconds(5)});
  log->flush(std::chrono::seconds(5));
  EXPECT_TRUE(
      metrics.render(true, false)
          .contains("sluice_gateway_payload_events_total{result=\"failed\",route=\"r\"} 1"));
  log->stop();
}

TEST(PayloadLog, AnAnswerThatBreaksIsToldAsFarAsItCame) {
  RunningUpstream upstream([](const HttpRequest&, const Responder& responder) {
    responder->start(200, {{"Content-Type", "text/plain"}});
    responder->write("half of");
  });
  RunningUpstream sink(takes_all());
  RunningGateway gateway(plan_text({upstream.url()}, log_text(sink.url(), "mode: response")));
  static_cast<void>(gateway.client.fetch(
      {.method = "POST", .url = gateway.url("/v1/completions"), .body = kBody}));
  auto events = events_of(sink, 1);
  const HttpRequest& said = events[std::string(kResponseType)];
  EXPECT_EQ(said.header("ce-cut"), said.header("ce-status") == "200" ? "true" : "");
}

TEST(PayloadLog, AttributesAreVisibleAscii) {
  EXPECT_EQ(attribute_text("a-z/~!"), "a-z/~!");
  EXPECT_EQ(attribute_text("a b\"%\n\xC3\xA9"), "a%20b%22%25%0A%C3%A9");
}

}  // namespace
}  // namespace sluice::gateway
