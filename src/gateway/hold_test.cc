// Requests that wait for a server through the whole gateway, and what the control plane is told.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gateway/fake_replica_test_support.h"
#include "gateway/running_test_support.h"
#include "gateway/unbroken_front.h"
#include "plan/load_report.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using net::testing::Signal;
using testing::answers;
using testing::fails;
using testing::FakeReplica;
using testing::kBody;
using testing::plan_of;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;
using testing::ScriptedUpstream;

constexpr const char* kStream = R"({"model":"m","prompt":"hi","stream":true,"max_tokens":12})";

bool eventually(const std::function<bool()>& holds) {
  const auto until = std::chrono::steady_clock::now() + net::testing::kPatience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

// Takes the gateway's reports.
struct Control {
  Control()
      : server([this](const HttpRequest& request, const Responder& responder) {
          take(request);
          responder->send({.status = 204});
        }) {}

  void take(const HttpRequest& request) {
    EXPECT_EQ(request.path, "/internal/v1/load");
    EXPECT_EQ(request.header("authorization"), "Bearer secret");
    auto report = plan::parse_load_report(request.body);
    ASSERT_TRUE(report) << report.error().message();
    const std::lock_guard lock(mutex);
    if (!report->wake.empty()) {
      for (const auto& name : report->wake) wakes.push_back(name);
      woken.set();
    } else if (report->plan_id) {
      plans.push_back(*report->plan_id);
      planned.set();
    } else if (report->ended) {
      ended.set();
    } else {
      seconds.push_back(*std::move(report));
      told.set();
    }
  }

  // Of an upstream, all seconds together.
  plan::UpstreamLoad sum(const std::string& name) {
    plan::UpstreamLoad all{.name = name};
    const std::lock_guard lock(mutex);
    for (const auto& report : seconds) {
      for (const auto& load : report.upstreams) {
        if (load.name != name) continue;
        all.concurrency += load.concurrency;
        all.arrived += load.arrived;
        all.answered += load.answered;
        all.failed += load.failed;
        all.refused += load.refused;
        all.prompt_tokens += load.prompt_tokens;
        all.completion_tokens += load.completion_tokens;
        all.ttft.merge(load.ttft);
        all.latency.merge(load.latency);
        all.stream_rate.merge(load.stream_rate);
        all.held = std::max(all.held, load.held);
      }
    }
    return all;
  }

  std::mutex mutex;
  std::vector<std::string> wakes;
  std::vector<plan::LoadReport> seconds;
  std::vector<std::string> plans;
  Signal planned;
  Signal woken;
  Signal told;
  Signal ended;
  RunningUpstream server;
};

struct World {
  std::string kind = "";  // more fields of the upstream
  std::string hold = "max_wait: 20s";
  std::string control = "";
  std::string plan_id = "";
  std::string more = "";  // of the route
  std::string health = "{active: false}";

  std::string plan(const std::vector<std::string>& urls) const {
    std::string text;
    if (!control.empty()) {
      text += "control: {url: \"" + control + "\", token: {env: T}";
      text += (plan_id.empty() ? "" : ", plan_id: " + plan_id) + "}\n";
    }
    text += "upstreams:\n  - name: u\n    health: " + health + "\n" + kind;
    text += "    hold: {" + hold + "}\n    endpoints: [";
    for (size_t i = 0; i < urls.size(); ++i) {
      text += "{url: \"" + urls[i] + "\", name: r" + std::to_string(i) + "},";
    }
    return text + "]\nroutes:\n  - name: r\n    public: true\n" +
           (more.contains("targets:") ? "" : "    targets: [{upstream: u}]\n") + more;
  }
};

// A gateway with what begin() begins.
struct Begun : RunningGateway {
  explicit Begun(const std::string& yaml) : RunningGateway(yaml) { gateway->begin(); }
  ~Begun() { stop(); }
  // Before the loops end.
  void stop() {
    if (!std::exchange(stopped, true)) gateway->end();
  }

  std::shared_ptr<Upstream> upstream(const std::string& name = "u") const {
    return gateway->snapshot()->upstreams().at(name);
  }
  int waiting(const std::string& name = "u") const { return upstream(name)->hold()->waiting(); }

  bool stopped = false;
};

// A request under way, its answer kept.
struct Asked {
  Asked(RunningGateway& gateway, std::string body, std::string path = "/v1/completions") {
    call = gateway.client.request(
        {.method = "POST", .url = gateway.url(path), .body = std::move(body)},
        {.on_head =
             [this](int code, const net::Headers& fields) {
               status = code;
               headers = fields;
             },
         .on_data =
             [this](std::string_view bytes) {
               const std::lock_guard lock(mutex);
               body_ += bytes;
               some.set();
             },
         .on_end = [this](const Outcome&) { ended.set(); }});
  }
  std::string body() {
    const std::lock_guard lock(mutex);
    return body_;
  }

  std::mutex mutex;
  std::string body_;
  int status = 0;
  net::Headers headers;
  Signal some;
  Signal ended;
  net::ClientCall call;
};

TEST(Hold, ARequestWaitsForAReplicaAndWakesTheControlPlane) {
  Control control;
  RunningUpstream upstream(answers("a"));
  const World world{.control = control.server.url()};
  Begun gateway(world.plan({}));
  EXPECT_EQ(gateway.get("/ready").status, 200) << "who holds requests takes them";
  Asked asked(gateway, kBody);
  ASSERT_TRUE(control.woken.wait());
  EXPECT_EQ(control.wakes, std::vector<std::string>{"u"});
  EXPECT_TRUE(eventually([&] { return gateway.waiting() == 1; }));
  ASSERT_TRUE(gateway.gateway->apply(plan_of(world.plan({upstream.url()}))));
  ASSERT_TRUE(asked.ended.wait());
  EXPECT_EQ(asked.status, 200);
  EXPECT_EQ(upstream.handler->count(), 1);
  EXPECT_EQ(gateway.waiting(), 0);
}

TEST(Hold, TheWaitIsBoundedInTimeAndNumber) {
  const World world{.hold = "max_wait: 300ms, max_held: 1"};
  Begun gateway(world.plan({}));
  Asked first(gateway, kBody);
  ASSERT_TRUE(eventually([&] { return gateway.waiting() == 1; }));
  const auto second = gateway.post(kBody);
  EXPECT_EQ(second.status, 503);
  EXPECT_TRUE(second.body.contains("hold_full")) << second.body;
  ASSERT_TRUE(first.ended.wait());
  EXPECT_EQ(first.status, 503);
  EXPECT_TRUE(first.body().contains("hold_timeout")) << first.body();
  EXPECT_FALSE(net::find_header(first.headers, "retry-after").empty());
}

TEST(Hold, WhoLeavesWaitsNoMore) {
  const World world;
  Begun gateway(world.plan({}));
  Asked asked(gateway, kBody);
  ASSERT_TRUE(eventually([&] { return gateway.waiting() == 1; }));
  asked.call.cancel();
  EXPECT_TRUE(eventually([&] { return gateway.waiting() == 0; }));
  ASSERT_TRUE(asked.ended.wait());
}

TEST(Hold, StreamsAreKeptOpenByComments) {
  RunningUpstream upstream([](const HttpRequest&, const Responder& responder) {
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    responder->write("data: 1\n\n");
    responder->finish();
  });
  const World world{.hold = "comment_every: 100ms"};
  Begun gateway(world.plan({}));
  Asked asked(gateway, kStream);
  ASSERT_TRUE(asked.some.wait(2));
  EXPECT_EQ(asked.status, 200);
  EXPECT_EQ(net::find_header(asked.headers, "content-type"), "text/event-stream");
  ASSERT_TRUE(gateway.gateway->apply(plan_of(world.plan({upstream.url()}))));
  ASSERT_TRUE(asked.ended.wait());
  EXPECT_TRUE(asked.body().starts_with(":")) << asked.body();
  EXPECT_TRUE(asked.body().ends_with("\n\ndata: 1\n\n")) << asked.body();
}

TEST(Hold, AfterACommentErrorsAreEvents) {
  const World world{.hold = "max_wait: 400ms, comment_every: 100ms"};
  Begun gateway(world.plan({}));
  Asked late(gateway, kStream);
  ASSERT_TRUE(late.ended.wait());
  EXPECT_EQ(late.status, 200);
  EXPECT_TRUE(late.body().contains("\n\ndata: {\"error\":{")) << late.body();
  EXPECT_TRUE(late.body().contains("hold_timeout")) << late.body();
  EXPECT_TRUE(late.body().ends_with("\n\n"));

  RunningUpstream bad(fails(400));
  Asked refused(gateway, kStream);
  ASSERT_TRUE(refused.some.wait());
  ASSERT_TRUE(gateway.gateway->apply(plan_of(world.plan({bad.url()}))));
  ASSERT_TRUE(refused.ended.wait());
  EXPECT_TRUE(refused.body().contains("data: {\"error\":{\"message\":\"no\"")) << refused.body();
}

TEST(Hold, TheSplitsChoiceIsKept) {
  RunningUpstream upstream(answers("there"));
  RunningUpstream late(answers("late"));
  World world{.more = "    targets: [{upstream: u}, {upstream: v}]\n"};
  const auto plan = [&](const std::string& url) {
    const std::string v =
        "  - name: v\n    health: {active: false}\n    hold: {}\n    endpoints: [" +
        (url.empty() ? "" : "{url: \"" + url + "\"}") + "]\n";
    std::string text = world.plan({upstream.url()});
    return text.insert(text.find("routes:"), v);
  };
  Begun gateway(plan(""));
  std::vector<std::unique_ptr<Asked>> asked;
  for (int i = 0; i < 4; ++i) asked.push_back(std::make_unique<Asked>(gateway, kBody));
  ASSERT_TRUE(
      eventually([&] { return gateway.waiting("v") == 2 && upstream.handler->count() == 2; }));
  ASSERT_TRUE(gateway.gateway->apply(plan_of(plan(late.url()))));
  for (const auto& each : asked) {
    ASSERT_TRUE(each->ended.wait());
    EXPECT_EQ(each->status, 200);
  }
  EXPECT_EQ(late.handler->count(), 2);
  EXPECT_EQ(upstream.handler->count(), 2);
}

TEST(Hold, OneWhoseUpstreamIsGoneGoesWhereItsRouteLeadsNow) {
  RunningUpstream upstream(answers("new"));
  const auto plan = [&](const std::string& name, const std::string& endpoints) {
    return "upstreams: [{name: " + name + ", health: {active: false}, hold: {}, endpoints: [" +
           endpoints + "]}]\nroutes: [{name: r, public: true, targets: [{upstream: " + name +
           "}]}]\n";
  };
  Begun gateway(plan("old", ""));
  Asked asked(gateway, kBody);
  ASSERT_TRUE(eventually([&] { return gateway.waiting("old") == 1; }));
  // Another one that sleeps: it goes on waiting there.
  ASSERT_TRUE(gateway.gateway->apply(plan_of(plan("next", ""))));
  ASSERT_TRUE(eventually([&] { return gateway.waiting("next") == 1; }));
  ASSERT_TRUE(gateway.gateway->apply(plan_of(plan("last", "{url: \"" + upstream.url() + "\"}"))));
  ASSERT_TRUE(asked.ended.wait());
  EXPECT_EQ(asked.status, 200) << asked.body();
  Asked late(gateway, R"({"model":"x","prompt":"hi"})");
  ASSERT_TRUE(late.ended.wait());
  EXPECT_EQ(late.status, 200);
}

TEST(Hold, FullReplicasAreWaitedForInOrder) {
  std::mutex mutex;
  std::vector<Responder> open;
  Signal arrived;
  RunningUpstream upstream([&](const HttpRequest&, const Responder& responder) {
    const std::lock_guard lock(mutex);
    open.push_back(responder);
    arrived.set();
  });
  const World world{.kind = "    max_outstanding: 1\n"};
  Begun gateway(world.plan({upstream.url()}));
  std::vector<std::unique_ptr<Asked>> asked;
  for (int i = 0; i < 3; ++i) {
    asked.push_back(std::make_unique<Asked>(gateway, kBody));
    const int behind = i;
    ASSERT_TRUE(eventually([&] { return gateway.waiting() == behind; }));
    if (i == 0) ASSERT_TRUE(arrived.wait());
  }
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(arrived.wait(i + 1));
    Responder next;
    {
      const std::lock_guard lock(mutex);
      ASSERT_EQ(open.size(), static_cast<size_t>(i + 1)) << "one at a time";
      next = open.back();
    }
    next->send(ScriptedUpstream::json("{}"));
    ASSERT_TRUE(asked[static_cast<size_t>(i)]->ended.wait());
    EXPECT_EQ(asked[static_cast<size_t>(i)]->status, 200);
  }
}

TEST(Hold, OneWhoseServerDiedWaitsForTheNext) {
  RunningUpstream next(answers("next"));
  auto dying = std::make_unique<RunningUpstream>(answers("dead"));
  const std::string dead = dying->url();
  dying.reset();
  World world{.health = "{interval: 1h}"};
  // Nothing has checked it yet: it is found out by the request.
  RunningGateway gateway(world.plan({dead}));
  Asked asked(gateway, kBody);
  const auto upstream = gateway.gateway->snapshot()->upstreams().at("u");
  ASSERT_TRUE(eventually([&] { return upstream->hold()->waiting() == 1; }));
  ASSERT_TRUE(gateway.gateway->apply(plan_of(world.plan({next.url()}))));
  ASSERT_TRUE(asked.ended.wait());
  EXPECT_EQ(asked.status, 200) << asked.body();
}

TEST(Hold, WhatIsUnderWayOutlivesItsReplicasAndItsUpstream) {
  Responder open;
  Signal arrived;
  RunningUpstream upstream([&](const HttpRequest&, const Responder& responder) {
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    responder->write("data: 1\n\n");
    open = responder;
    arrived.set();
  });
  const World world;
  Begun gateway(world.plan({upstream.url()}));
  Asked asked(gateway, kStream);
  ASSERT_TRUE(arrived.wait());
  ASSERT_TRUE(gateway.gateway->apply(plan_of(world.plan({}))));
  ASSERT_TRUE(gateway.gateway->apply(
      plan_of("upstreams: [{name: w, endpoints: [{url: \"http://127.0.0.1:1\"}]}]\n"
              "routes: [{name: w, targets: [{upstream: w}]}]\n")));
  open->write("data: 2\n\n");
  open->finish();
  ASSERT_TRUE(asked.ended.wait());
  EXPECT_EQ(asked.body(), "data: 1\n\ndata: 2\n\n");
}

TEST(LoadReporter, TellsWhatWasDone) {
  Control control;
  RunningUpstream upstream([](const HttpRequest& request, const Responder& responder) {
    if (!request.body.contains("stream")) return fails(500)(request, responder);
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    for (int i = 0; i < 5; ++i) responder->write("data: {}\n\n");
    responder->write(R"(data: {"usage":{"prompt_tokens":7,"completion_tokens":5}})"
                     "\n\ndata: [DONE]\n\n");
    responder->finish();
  });
  const World world{.control = control.server.url(), .more = "    retry: {attempts: 0}\n"};
  Begun gateway(world.plan({upstream.url()}));
  EXPECT_EQ(gateway.post(kStream).status, 200);
  EXPECT_EQ(gateway.post(kBody).status, 500);
  ASSERT_TRUE(eventually([&] { return control.sum("u").arrived == 2; }));
  ASSERT_TRUE(eventually([&] { return control.sum("u").failed == 1; }));
  const auto sum = control.sum("u");
  EXPECT_EQ(sum.answered, 1);
  EXPECT_EQ(sum.refused, 0);
  EXPECT_EQ(sum.prompt_tokens, 7);
  EXPECT_EQ(sum.completion_tokens, 5);
  EXPECT_EQ(sum.ttft.count(), 1u);
  EXPECT_EQ(sum.latency.count(), 1u);
  EXPECT_EQ(control.seconds.front().upstreams.front().usable, 1);
  gateway.gateway->end_reports();
  EXPECT_EQ(control.ended.count(), 1);
}

TEST(LoadReporter, TellsWhichPlanIsInForce) {
  Control control;
  World world{.control = control.server.url(), .plan_id = "first"};
  RunningUpstream upstream(answers("a"));
  Begun gateway(world.plan({upstream.url()}));
  ASSERT_TRUE(control.planned.wait());
  world.plan_id = "second";
  ASSERT_TRUE(gateway.gateway->apply(plan_of(world.plan({upstream.url()}))));
  ASSERT_TRUE(control.planned.wait(2));
  gateway.gateway->drain();
  ASSERT_TRUE(control.planned.wait(3));
  const std::lock_guard lock(control.mutex);
  EXPECT_EQ(control.plans, (std::vector<std::string>{"first", "second", ""}));
}

TEST(LoadReporter, KeepsTheLastSecondsForAControlPlaneThatIsAway) {
  Control control;
  const World away{.control = "http://127.0.0.1:1"};
  const World there{.control = control.server.url()};
  RunningUpstream upstream(answers("a"));
  Begun gateway(away.plan({upstream.url()}));
  EXPECT_EQ(gateway.post(kBody).status, 200);
  ASSERT_TRUE(gateway.gateway->apply(plan_of(there.plan({upstream.url()}))));
  ASSERT_TRUE(eventually([&] { return control.sum("u").answered == 1; }));
}

constexpr const char* kSluice = "    kind: sluice\n    internal_token: {env: T}\n";

struct BegunFront : Begun {
  explicit BegunFront(const std::string& yaml)
      : Begun(yaml),
        front(
            gateway->relay_host(), [this] { return gateway->snapshot(); }, gateway->chooser(),
            more_workers, metrics) {
    gateway->set_sluice_handler([this](RelayRequest request) { front.answer(std::move(request)); });
  }
  ~BegunFront() {
    stop();
    server.reset();
    front.end();
  }
  WorkerPool more_workers{2, 64};
  UnbrokenFront front;
};

TEST(Hold, SluiceReplicasAreWaitedForToo) {
  Control control;
  FakeReplica replica;
  World world{.kind = kSluice, .hold = "comment_every: 100ms", .control = control.server.url()};
  BegunFront gateway(world.plan({}));
  Asked stream(gateway, kStream);
  Asked whole(gateway, R"({"model":"m","prompt":"hi","max_tokens":12})");
  ASSERT_TRUE(control.woken.wait());
  ASSERT_TRUE(stream.some.wait());
  ASSERT_TRUE(eventually([&] { return gateway.waiting() == 2; }));
  ASSERT_TRUE(gateway.gateway->apply(plan_of(world.plan({replica.url}))));
  ASSERT_TRUE(stream.ended.wait());
  ASSERT_TRUE(whole.ended.wait());
  EXPECT_EQ(whole.status, 200);
  EXPECT_TRUE(whole.body().contains(testing::kWhole)) << whole.body();
  EXPECT_TRUE(stream.body().starts_with(":")) << stream.body();
  EXPECT_TRUE(stream.body().contains("t11 ")) << stream.body();
  ASSERT_TRUE(eventually([&] { return control.sum("u").answered == 2; }));
  const auto sum = control.sum("u");
  EXPECT_EQ(sum.arrived, 2);
  EXPECT_EQ(sum.failed, 0);
  EXPECT_EQ(sum.completion_tokens, 2 * testing::kTokens);
  EXPECT_EQ(sum.ttft.count(), 2u) << "replicas tell of their first token, streamed or not";
}

TEST(Hold, AStreamOfSluiceReplicasThatCannotBeginEndsWithAnError) {
  const World world{.kind = kSluice, .hold = "max_wait: 400ms, comment_every: 100ms"};
  BegunFront gateway(world.plan({}));
  Asked stream(gateway, kStream);
  ASSERT_TRUE(stream.ended.wait());
  EXPECT_TRUE(stream.body().contains("hold_timeout")) << stream.body();
}

}  // namespace
}  // namespace sluice::gateway
