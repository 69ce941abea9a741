// Predictions that are joined: their bodies, and the way through the gateway.
#include "gateway/predict_batch.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "gateway/running_test_support.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using testing::fails;
using testing::plan_text;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;

constexpr const char* kPath = "/v1/models/m:predict";

// Doubles every instance.
testing::ScriptedUpstream::Script doubles() {
  return [](const HttpRequest& request, const Responder& responder) {
    const auto body = parse_json(request.body);
    json::array out;
    for (const auto& each : body->at("instances").as_array()) {
      out.push_back(each.is_int64() ? json::value(2 * each.as_int64()) : each);
    }
    responder->send(testing::ScriptedUpstream::json(
        to_json(json::object{{"model_version", "7"}, {"predictions", std::move(out)}})));
  };
}

// What each body got, asked at the same time.
std::vector<HttpResponse> ask_all(RunningGateway& gateway, const std::vector<std::string>& bodies) {
  std::vector<HttpResponse> answers(bodies.size());
  std::vector<std::jthread> threads;
  for (size_t i = 0; i < bodies.size(); ++i) {
    threads.emplace_back([&, i] { answers[i] = gateway.post(bodies[i], {}, kPath); });
  }
  threads.clear();
  return answers;
}

TEST(PredictBatch, Bodies) {
  EXPECT_EQ(read_instances(R"({"instances":[1,[2]]})")->size(), 2u);
  for (const char* alone : {"", "[]", R"({"instances":[]})", R"({"instances":1})",
                            R"({"inputs":[1]})", R"({"instances":[1],"parameters":{}})"}) {
    EXPECT_FALSE(read_instances(alone).has_value()) << alone;
  }
  const json::array a = {1, "x"};
  const json::array b = {json::object{{"k", 2}}};
  EXPECT_EQ(joined_instances({&a, &b}), R"({"instances":[1,"x",{"k":2}]})");
  const auto parts = split_predictions(R"({"predictions":[1,2,3],"v":"7"})", {2, 1});
  ASSERT_TRUE(parts);
  EXPECT_EQ((*parts)[0], R"({"v":"7","predictions":[1,2]})");
  EXPECT_EQ((*parts)[1], R"({"v":"7","predictions":[3]})");
  for (const char* bad : {R"({"predictions":[1,2]})", R"({"error":"no"})", "[1,2,3]", "no"}) {
    EXPECT_FALSE(split_predictions(bad, {2, 1}).has_value()) << bad;
  }
}

TEST(PredictBatch, JoinsUpToSoManyInstances) {
  RunningUpstream upstream(doubles());
  RunningGateway gateway(
      plan_text({upstream.url()}, "    batch: {max_instances: 4, max_latency: 60s}\n"));
  const auto answers =
      ask_all(gateway, {R"({"instances":[1]})", R"({"instances":[2,3]})", R"({"instances":[4]})"});
  for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i].status, 200);
  EXPECT_EQ(answers[0].body, R"({"model_version":"7","predictions":[2]})");
  EXPECT_EQ(answers[1].body, R"({"model_version":"7","predictions":[4,6]})");
  EXPECT_EQ(answers[2].body, R"({"model_version":"7","predictions":[8]})");
  EXPECT_EQ(upstream.handler->count(), 1);
  EXPECT_NE(net::find_header(answers[0].headers, "x-request-id"),
            net::find_header(answers[1].headers, "x-request-id"));
}

TEST(PredictBatch, TheFirstWaitsNoLongerThanItMay) {
  RunningUpstream upstream(doubles());
  RunningGateway gateway(
      plan_text({upstream.url()}, "    batch: {max_instances: 100, max_latency: 20ms}\n"));
  EXPECT_EQ(gateway.post(R"({"instances":[5]})", {}, kPath).body,
            R"({"model_version":"7","predictions":[10]})");
  EXPECT_EQ(upstream.handler->count(), 1);
}

TEST(PredictBatch, WhatCannotBeJoinedGoesByItself) {
  RunningUpstream upstream(doubles());
  RunningGateway gateway(
      plan_text({upstream.url()}, "    batch: {max_instances: 2, max_latency: 60s}\n"));
  const std::string more = R"({"instances":[1],"parameters":{"a":1}})";
  EXPECT_EQ(gateway.post(more, {}, kPath).status, 200);
  EXPECT_EQ(upstream.handler->seen().back().body, more) << "byte by byte";
  EXPECT_EQ(gateway.post(R"({"instances":[1,2,3]})", {}, kPath).status, 200);
  EXPECT_EQ(gateway.post(R"({"instances":[1]})", {}, "/v1/completions").status, 200);
  EXPECT_EQ(upstream.handler->count(), 3);
}

TEST(PredictBatch, AFailureIsEverybodys) {
  RunningUpstream broken(fails(500));
  RunningGateway gateway(
      plan_text({broken.url()},
                "    batch: {max_instances: 2, max_latency: 60s}\n    retry: {attempts: 0}\n"));
  for (const auto& answer : ask_all(gateway, {R"({"instances":[1]})", R"({"instances":[2]})"})) {
    EXPECT_EQ(answer.status, 500);
    EXPECT_EQ(answer.body, R"({"error":"no"})");
  }
  RunningUpstream few([](const HttpRequest&, const Responder& responder) {
    responder->send(testing::ScriptedUpstream::json(R"({"predictions":[1]})"));
  });
  RunningGateway other(plan_text({few.url()}, "    batch: {max_instances: 2, max_latency: 60s}\n"));
  for (const auto& answer : ask_all(other, {R"({"instances":[1]})", R"({"instances":[2]})"})) {
    EXPECT_EQ(answer.status, 503);
    EXPECT_TRUE(answer.body.contains("1 predictions for 2 joined instances")) << answer.body;
  }
}

TEST(PredictBatch, AServerThatTakesTooLongIsGivenUp) {
  std::vector<Responder> held;
  std::mutex mutex;
  RunningUpstream upstream([&](const HttpRequest&, const Responder& responder) {
    const std::lock_guard lock(mutex);
    held.push_back(responder);
  });
  RunningGateway gateway(plan_text(
      {upstream.url()}, "    batch: {max_instances: 1024, max_latency: 1ms, timeout: 50ms}\n"));
  EXPECT_EQ(gateway.post(R"({"instances":[1]})", {}, kPath).status, 504);
  const std::lock_guard lock(mutex);
  held.clear();
}

TEST(PredictBatch, AClientThatLeavesTakesItsPartAlong) {
  RunningUpstream upstream(doubles());
  RunningUpstream sink(
      [](const HttpRequest&, const Responder& responder) { responder->send({.status = 204}); });
  RunningGateway gateway(plan_text(
      {upstream.url()}, "    batch: {max_instances: 2, max_latency: 60s}\n    log: {url: \"" +
                            sink.url() + "/\", mode: request}\n"));
  net::HttpClient client;
  testing::Signal gone;
  auto call =
      client.request({.method = "POST", .url = gateway.url(kPath), .body = R"({"instances":[1]})"},
                     {.on_end = [&](const Outcome&) { gone.set(); }});
  ASSERT_TRUE(sink.handler->arrived.wait());
  call.cancel();
  ASSERT_TRUE(gone.wait());
  while (!gateway.metrics.render(true, false).contains("status=\"499\"")) {
    std::this_thread::yield();
  }
  const auto answers = ask_all(gateway, {R"({"instances":[2]})", R"({"instances":[3]})"});
  EXPECT_EQ(answers[0].body, R"({"model_version":"7","predictions":[4]})");
  EXPECT_EQ(answers[1].body, R"({"model_version":"7","predictions":[6]})");
  EXPECT_EQ(upstream.handler->count(), 1);
}

}  // namespace
}  // namespace sluice::gateway
