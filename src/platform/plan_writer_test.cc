#include "platform/plan_writer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "base/secret.h"
#include "control/json_util.h"
#include "plan/parse.h"
#include "platform/names.h"
#include "platform/parts_test_support.h"
#include "platform/plan_writer_test_support.h"
#include "platform/replica_template.h"

namespace sluice::platform {
namespace {

using control::ObjectPtr;

TEST_F(PlanWriterTest, NothingIsAPlanToo) {
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_TRUE(plan->routes.empty());
  ASSERT_TRUE(plan->control.has_value());
  EXPECT_EQ(plan->control->url, "http://127.0.0.1:9999");
  EXPECT_EQ(plan->control->token, "internal");
}

TEST_F(PlanWriterTest, AServiceOfOurOwnReplicas) {
  revision("default", "story-predictor-00001",
           R"({"component":"predictor","modelNames":["story"],"containerConcurrency":4,
               "container":{"command":["sluice","serve"]}})",
           2);
  service("default", "story", {{"story-predictor-00001", 100}},
          R"({"predictor":{"timeout":30},"sluice":{"wake":{"holdSeconds":1.5,"maxHeld":7}}})");
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  ASSERT_EQ(plan->upstreams.size(), 1u);
  const plan::Upstream& upstream = plan->upstreams[0];
  EXPECT_EQ(upstream.name, "default/story-predictor-00001");
  EXPECT_EQ(upstream.kind, plan::UpstreamKind::kSluice);
  EXPECT_EQ(
      upstream.internal_token,
      deployment_secrets(settings_.master, "default", "story-predictor-00001").internal_token);
  EXPECT_EQ(upstream.max_outstanding, 4);
  ASSERT_EQ(upstream.endpoints.size(), 2u);
  EXPECT_EQ(upstream.endpoints[1].name, "story-predictor-00001-1");
  ASSERT_TRUE(upstream.hold.has_value());
  EXPECT_EQ(upstream.hold->max_wait, std::chrono::milliseconds(1500));
  EXPECT_EQ(upstream.hold->max_held, 7);
  const plan::Route* by_model = route(*plan, "default/story");
  ASSERT_NE(by_model, nullptr);
  EXPECT_EQ(by_model->match.models, (Names{"story", "default/story"}));
  EXPECT_EQ(by_model->targets[0].model, "story");
  EXPECT_TRUE(by_model->is_public) << "there is no tenant";
  EXPECT_EQ(by_model->timeouts.total, std::chrono::seconds(30));
  const plan::Route* by_host = route(*plan, "default/story@host");
  ASSERT_NE(by_host, nullptr);
  EXPECT_LT(by_host, by_model) << "a host says more than a model's name";
  EXPECT_EQ(by_host->match.hosts.front(), "story.default");
  EXPECT_TRUE(std::ranges::find(by_host->match.hosts, "story.default.localhost") !=
              by_host->match.hosts.end());
  EXPECT_FALSE(by_host->listed);
  EXPECT_EQ(problems_, "");
}

TEST_F(PlanWriterTest, ServicesOfOneProcess) {
  constexpr std::string_view kBoth =
      R"({"component":"predictor","process":"p","containerConcurrency":4,
          "models":[{"name":"a","storageUri":"/a"},{"name":"b","storageUri":"/b"}],
          "container":{"command":["sluice","serve"]}})";
  revision("default", "a-predictor-00001", kBoth, 2);
  for (const std::string name : {"a", "b", "c"}) {
    service("default", name, {{"a-predictor-00001", 100}},
            R"({"predictor":{"timeout":)" + std::string(name == "a" ? "30" : "60") + "}}");
  }
  auto plan = write();
  ASSERT_NE(plan, nullptr);
  ASSERT_EQ(plan->upstreams.size(), 1u);
  EXPECT_EQ(plan->upstreams[0].endpoints.size(), 2u);
  EXPECT_EQ(plan->upstreams[0].kind, plan::UpstreamKind::kSluice);
  EXPECT_EQ(plan->upstreams[0].max_outstanding, 4);
  for (const std::string name : {"a", "b"}) {
    const plan::Route* found = route(*plan, "default/" + name);
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(found->match.models, (Names{name, "default/" + name}));
    EXPECT_EQ(found->targets[0].upstream, "default/a-predictor-00001");
    EXPECT_EQ(found->targets[0].model, name);
    EXPECT_EQ(found->timeouts.total, std::chrono::seconds(name == "a" ? 30 : 60));
    EXPECT_EQ(route(*plan, "default/" + name + "@host")->targets[0].model, name);
  }
  EXPECT_EQ(route(*plan, "default/c"), nullptr) << "it holds no model of that name";
  EXPECT_EQ(problems_, "");
  json::object body = input_.services[1].object->body;
  control::object_of(body, "metadata")["annotations"] =
      json::object{{"serving.kserve.io/stop", "true"}};
  input_.services[1].object = control::make_object(*input_.services[1].object->type, body, 2);
  plan = write();
  EXPECT_EQ(route(*plan, "default/b"), nullptr) << "its process runs on, and serves it no more";
  revision("default", "b-predictor-00001", kSluice, 0);
  input_.services[1].candidate = "b-predictor-00001";
  plan = write();
  EXPECT_EQ(route(*plan, "default/b"), nullptr) << "nor does one that it would come to";
  EXPECT_NE(route(*plan, "default/a"), nullptr);
}

TEST_F(PlanWriterTest, AnotherServer) {
  revision("default", "other-predictor-00001", kForeign);
  revision("default", "bare-predictor-00001",
           R"({"component":"predictor","container":{"command":["x"]}})");
  service("default", "other", {{"other-predictor-00001", 100}},
          R"({"predictor":{"timeout":700},"sluice":{"wake":{"holdSeconds":0}}})");
  service("default", "bare", {{"bare-predictor-00001", 100}});
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  const plan::Upstream* upstream = plan->find_upstream("default/other-predictor-00001");
  ASSERT_NE(upstream, nullptr);
  EXPECT_EQ(upstream->kind, plan::UpstreamKind::kForeign);
  EXPECT_TRUE(upstream->api_key.empty());
  EXPECT_EQ(upstream->health.path, "/up");
  EXPECT_FALSE(upstream->hold.has_value());
  EXPECT_FALSE(plan->find_upstream("default/bare-predictor-00001")->health.active);
  const plan::Route* found = route(*plan, "default/other");
  EXPECT_EQ(found->targets[0].model, "") << "it knows itself what it is called";
  EXPECT_EQ(found->timeouts.first_byte, std::chrono::seconds(700));
}

TEST_F(PlanWriterTest, ShortNamesBelongToOneServiceOnly) {
  for (const std::string ns : {"default", "a", "b"}) {
    revision(ns, "x-predictor-00001");
    service(ns, "x", {{"x-predictor-00001", 100}});
  }
  for (const std::string ns : {"a", "b"}) {
    revision(ns, "y-predictor-00001");
    service(ns, "y", {{"y-predictor-00001", 100}});
  }
  revision("a", "z-predictor-00001",
           R"({"component":"predictor","modelNames":["llama","y"],"container":{"command":["v"]}})");
  service("a", "z", {{"z-predictor-00001", 100}});
  revision("a", "z-predictor-00000",  // has nobody's traffic any more
           R"({"component":"predictor","modelNames":["gone"],"container":{"command":["v"]}})");
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(route(*plan, "default/x")->match.models, (Names{"x", "default/x"}));
  EXPECT_EQ(route(*plan, "a/x")->match.models, Names{"a/x"});
  EXPECT_EQ(route(*plan, "a/y")->match.models, Names{"a/y"});
  EXPECT_EQ(route(*plan, "a/z")->match.models, (Names{"z", "a/z", "llama"}))
      << "y is a service's name";
}

TEST_F(PlanWriterTest, SplitsAddUp) {
  for (const std::string name : {"s-predictor-00001", "s-predictor-00002", "s-next-predictor-00001",
                                 "s-dark-predictor-00001"}) {
    revision("default", name);
  }
  PlanService& s = service("default", "s", {{"s-predictor-00001", 75}, {"s-predictor-00002", 25}});
  s.candidate = "s-predictor-00002";
  s.canaries = {{"next", "s-next-predictor-00001", 20},
                {"dark", "s-dark-predictor-00001", 0},
                {"late", "", 30}};
  auto plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(targets(*plan, "default/s"),
            "default/s-predictor-00001:6000 default/s-predictor-00002:2000[latest] "
            "default/s-next-predictor-00001:2000[next] default/s-dark-predictor-00001:0[dark]");
  s.predictor = {{"s-predictor-00001", 100}};  // a candidate that gets nothing yet
  s.canaries = {{"same", "s-predictor-00001", 40}};
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(targets(*plan, "default/s"),
            "default/s-predictor-00001:10000[same] default/s-predictor-00002:0[latest]");
  s.canaries = {{"next", "s-next-predictor-00001", 100}};
  s.candidate.clear();
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(targets(*plan, "default/s"), "default/s-next-predictor-00001:10000[next]");
}

TEST_F(PlanWriterTest, TheOneBeforeAnswersForOneThatFails) {
  revision("default", "s-predictor-00001");
  revision("default", "s-predictor-00002");
  PlanService& s = service("default", "s", {{"s-predictor-00001", 75}, {"s-predictor-00002", 25}});
  s.candidate = "s-predictor-00002";
  s.stable = "s-predictor-00001";
  auto plan = write();
  ASSERT_NE(plan, nullptr);
  const auto fallback = [&] {
    const auto& list = route(*plan, "default/s")->fallbacks;
    return list.empty() ? std::string("none") : list.front().upstream;
  };
  const auto waits_ms = [&](std::string_view name) {
    const auto& hold = plan->find_upstream(upstream_name("default", name))->hold;
    return std::chrono::duration_cast<std::chrono::milliseconds>(hold->max_wait).count();
  };
  EXPECT_EQ(fallback(), "default/s-predictor-00001");
  EXPECT_EQ(route(*plan, "default/s")->fallbacks.front().model, "story");
  EXPECT_EQ(waits_ms("s-predictor-00001"), 30'000);
  EXPECT_EQ(waits_ms("s-predictor-00002"), 250) << "then the one before is asked";
  s.predictor = {{"s-predictor-00002", 100}};  // it is watched, and has all the traffic
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(fallback(), "default/s-predictor-00001");
  EXPECT_EQ(targets(*plan, "default/s"), "default/s-predictor-00002:10000[latest]");
  s.predictor = {{"s-predictor-00001", 100}};  // asked for by the header alone: its own answer
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(fallback(), "none");
  s.predictor = {{"s-predictor-00002", 100}};
  EXPECT_EQ(route(*plan, "default/s")->retry.max_retry_after, plan::Retry().max_retry_after);
  input_.revisions.back().object =
      sluice_object("Revision", "default", "s-predictor-00002", parsed(kForeign));
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(fallback(), "default/s-predictor-00001");
  EXPECT_EQ(route(*plan, "default/s")->retry.max_retry_after, std::chrono::milliseconds(250));
  input_.revisions.back().replicas.clear();  // it sleeps: requests wake it
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(fallback(), "none");
  EXPECT_EQ(waits_ms("s-predictor-00002"), 30'000);
}

// Weights were decided before the last replica went.
TEST_F(PlanWriterTest, APartThatNobodyTakesGoesBackToTheStableOne) {
  revision("default", "s-predictor-00001");
  revision("default", "s-predictor-00002", kSluice, 0);
  PlanService& s = service("default", "s", {{"s-predictor-00001", 75}, {"s-predictor-00002", 25}});
  s.candidate = "s-predictor-00002";
  s.stable = "s-predictor-00001";
  const auto written = [&](std::string_view status) {
    json::object body = input_.revisions.back().object->body;
    body["status"] = parsed(status);
    input_.revisions.back().object = object_of("sluice.dev/v1alpha1", "Revision", "default",
                                               "s-predictor-00002", std::move(body));
    const auto plan = write();
    return plan == nullptr ? std::string("none") : targets(*plan, "default/s");
  };
  EXPECT_EQ(written(R"({"role":"Candidate","granted":0})"),
            "default/s-predictor-00001:7500 default/s-predictor-00002:2500[latest]")
      << "it sleeps: requests wake it";
  EXPECT_EQ(written(R"({"role":"Candidate","granted":1})"),
            "default/s-predictor-00001:10000 default/s-predictor-00002:0[latest]");
  EXPECT_EQ(written(R"({"role":"Retired","granted":0})"),
            "default/s-predictor-00001:10000 default/s-predictor-00002:0[latest]");
  s.predictor = {{"s-predictor-00002", 100}};
  EXPECT_EQ(written(R"({"role":"Candidate","granted":1})"),
            "default/s-predictor-00002:0[latest] default/s-predictor-00001:10000");
  input_.revisions.front().replicas.clear();  // then nobody is better
  EXPECT_EQ(written(R"({"role":"Candidate","granted":1})"),
            "default/s-predictor-00002:10000[latest]");
}

// The candidate took over, and lost its last replica before the plan that says so was written.
TEST_F(PlanWriterTest, TheOneBeforeServesWhileItsHeirHasNobody) {
  revision("default", "s-predictor-00001");
  json::object body = revision("default", "s-predictor-00002", kSluice, 0).object->body;
  body["status"] = parsed(R"({"role":"Serving","granted":1})");
  input_.revisions.back().object =
      object_of("sluice.dev/v1alpha1", "Revision", "default", "s-predictor-00002", std::move(body));
  PlanService& s = service("default", "s", {{"s-predictor-00002", 100}});
  s.stable = "s-predictor-00002";
  s.previous = "s-predictor-00001";
  EXPECT_EQ(targets(*write(), "default/s"), "default/s-predictor-00001:10000");
  input_.revisions.front().replicas.clear();
  EXPECT_EQ(targets(*write(), "default/s"), "default/s-predictor-00002:10000");
}

TEST_F(PlanWriterTest, WhatARevisionThatIsGoneHadGoesToTheOthers) {
  revision("default", "s-predictor-00002");
  PlanService& s = service("default", "s", {{"s-predictor-00001", 80}, {"s-predictor-00002", 20}});
  s.candidate = "s-predictor-00002";
  s.stable = "s-predictor-00001";
  EXPECT_EQ(targets(*write(), "default/s"), "default/s-predictor-00002:10000[latest]");
}

TEST_F(PlanWriterTest, OursBesideAnotherServerIsAskedAsSuchAServer) {
  revision("default", "s-predictor-00001");
  revision("default", "s-predictor-00002", kForeign);
  service("default", "s", {{"s-predictor-00001", 50}, {"s-predictor-00002", 50}});
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  const plan::Upstream* ours = plan->find_upstream("default/s-predictor-00001");
  EXPECT_EQ(ours->kind, plan::UpstreamKind::kForeign);
  EXPECT_EQ(ours->api_key,
            deployment_secrets(settings_.master, "default", "s-predictor-00001").api_key);
}

TEST_F(PlanWriterTest, AServiceWithoutARevisionHasNoRoute) {
  service("default", "s", {});
  service("default", "t", {{"t-predictor-00001", 100}});
  EXPECT_TRUE(write()->routes.empty());
}

TEST_F(PlanWriterTest, TransformersAndExplainers) {
  revision("default", "s-predictor-00001");
  revision("default", "s-transformer-00001",
           R"({"component":"transformer","container":{"command":["t"]}})");
  revision("default", "s-explainer-00001",
           R"({"component":"explainer","container":{"command":["e"]}})");
  const auto with = [&](std::string_view parts) -> PlanService& {
    input_.services.clear();
    problems_.clear();
    return service("default", "s", {{"s-predictor-00001", 100}},
                   R"({"predictor":{},)" + std::string(parts) + "}");
  };
  with(R"("transformer":{"sluice":{"requestTemplate":"{{ a }}\n","responseTemplate":"{{ b }}"}},
          "explainer":{"sluice":{"segments":"word","maxSegments":9}})");
  auto plan = write();
  ASSERT_NE(plan, nullptr);
  const plan::Route* found = route(*plan, "default/s");
  ASSERT_TRUE(found != nullptr && found->transform && found->explain) << problems_;
  EXPECT_EQ(found->transform->request_template, "{{ a }}\n");
  EXPECT_EQ(found->explain->max_segments, 9);
  EXPECT_TRUE(route(*plan, "default/s@host")->transform.has_value());

  with(R"("transformer":{"sluice":{"url":"http://t.example/t"}},"explainer":{})");
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(route(*plan, "default/s")->transform->request_url, "http://t.example/t:preprocess");
  EXPECT_TRUE(route(*plan, "default/s")->explain.has_value());

  PlanService& own = with(R"("transformer":{"containers":[{"command":["t"]}]},
                             "explainer":{"containers":[{"command":["e"]}]})");
  own.transformer = "s-transformer-00001";
  own.explainer = "s-explainer-00001";
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(targets(*plan, "default/s"), "default/s-transformer-00001:10000");
  EXPECT_EQ(plan->find_upstream("default/s-transformer-00001")->kind, plan::UpstreamKind::kForeign);
  EXPECT_FALSE(route(*plan, "default/s")->transform);
  EXPECT_EQ(route(*plan, "default/s")->explain->url,
            input_.revisions[2].replicas[0].url + "/v1/models/s:explain");
  const plan::Route* inner = route(*plan, "default/s@predictor");
  ASSERT_NE(inner, nullptr);
  EXPECT_EQ(inner->match.prefix, predictor_path(settings_.master, "default", "s"));
  EXPECT_TRUE(inner->is_public && !inner->listed);
  EXPECT_EQ(targets(*plan, "default/s@predictor"), "default/s-predictor-00001:10000");
  EXPECT_EQ(plan->find_upstream("default/s-predictor-00001")->kind, plan::UpstreamKind::kSluice);
  input_.revisions[1].replicas.clear();
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_TRUE(plan->find_upstream("default/s-transformer-00001")->endpoints.empty())
      << "requests wait for it";
  EXPECT_EQ(plan->find_upstream("default/s-predictor-00001")->endpoints.size(), 1u);

  with(R"("transformer":{"containers":[{"command":["t"]}]},"explainer":{})").transformer =
      "s-transformer-00001";
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(route(*plan, "default/s")->explain->route, "default/s@predictor") << problems_;
  with(R"("transformer":{"containers":[{"command":["t"]}]})");
  EXPECT_EQ(route(*write(), "default/s"), nullptr) << "its revision is not there yet";

  with(R"("transformer":{"sluice":{"url":"ftp://x"}})");
  plan = write();
  EXPECT_EQ(route(*plan, "default/s"), nullptr) << "not without what it is to do";
  EXPECT_TRUE(problems_.contains("InferenceService s: spec.transformer: ")) << problems_;
}

TEST_F(PlanWriterTest, LoggersAndBatchers) {
  revision("default", "s-predictor-00001");
  service(
      "default", "s", {{"s-predictor-00001", 100}},
      R"({"predictor":{"batcher":{"maxBatchSize":8,"maxLatency":50},"logger":{"url":"http://sink:8080/in","mode":"response",
              "metadataHeaders":["X-User"],"metadataAnnotations":["none"]}}})");
  auto plan = write();
  ASSERT_NE(plan, nullptr);
  const auto& log = route(*plan, "default/s")->log;
  ASSERT_TRUE(log.has_value()) << problems_;
  EXPECT_EQ(log->url, "http://sink:8080/in");
  EXPECT_EQ(log->mode, plan::PayloadLogPlan::Mode::kResponse);
  EXPECT_EQ(log->headers, Names{"x-user"});
  EXPECT_EQ(log->attributes.front().second, "s");
  EXPECT_TRUE(route(*plan, "default/s@host")->log.has_value());
  ASSERT_TRUE(route(*plan, "default/s")->batch.has_value());
  EXPECT_EQ(route(*plan, "default/s")->batch->max_instances, 8);
  EXPECT_EQ(route(*plan, "default/s")->batch->max_latency, std::chrono::milliseconds(50));

  input_.services.clear();
  service("default", "s", {{"s-predictor-00001", 100}},
          R"({"predictor":{"logger":{"url":"http://x","metadataHeaders":["Authorization"]}}})");
  plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_FALSE(route(*plan, "default/s")->log.has_value()) << "served, but not logged";
  EXPECT_TRUE(problems_.contains("InferenceService s: spec.predictor.logger: ")) << problems_;
}

TEST_F(PlanWriterTest, OneBadObjectTakesNothingFromTheOthers) {
  const std::string big(200, 'x');
  revision("default", "s-predictor-00001",
           R"({"component":"predictor","modelNames":["a\nb"],"containerConcurrency":99999999,
               "container":{"command":["v"],"readinessProbe":{"httpGet":{"path":"/\u0001",
      "port":1}}}})");
  service("default", "s", {{"s-predictor-00001", 100}},
          R"({"predictor":{"timeout":99999999},"sluice":{"wake":{"holdSeconds":600,
      "maxHeld":9999999}}})");
  revision("default", "t-predictor-00001");
  PlanService& crowded = service("default", "t", {{"t-predictor-00001", 100}});
  for (int i = 0; i < 70; ++i) {
    const std::string name = "t-" + std::to_string(i) + "-predictor-00001";
    revision("default", name);
    crowded.canaries.push_back({std::to_string(i), name, 1});
  }
  input_.tenants = {
      sluice_object("Tenant", "default", big, json::object()),
      sluice_object("Tenant", "default", "long", {{"models", json::array{big + big}}}),
      sluice_object("Tenant", "default", "good", json::object())};
  input_.keys = {sluice_object("ApiKey", "default", big,
                               {{"tenant", "good"}, {"sha256", SecretDigest("a").hex()}})};
  input_.providers = {
      provider("default", big, R"({"url":"https://a.example","models":[{"name":"m"}]})"),
      sluice_object("Provider", "default", "p",
                    {{"url", "https://a.example"},
                     {"models", json::array{json::object{{"name", big + big}},
                                            json::object{{"name", "fine"}}}}})};
  input_.graphs = {graph("g", R"({"timeout":99999999,"nodes":{}})")};
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_NE(route(*plan, "default/s"), nullptr);
  EXPECT_EQ(route(*plan, "default/t"), nullptr);
  EXPECT_NE(route(*plan, "default/fine"), nullptr);
  ASSERT_EQ(plan->tenants.size(), 1u);
  EXPECT_TRUE(plan->tenants[0].keys.empty());
  for (const std::string_view part : {"InferenceService t: spec.canary: ", "Tenant long: spec: ",
                                      "Provider p: spec.models: ", "InferenceGraph g: spec: "}) {
    EXPECT_TRUE(problems_.contains(part)) << part << " in\n" << problems_;
  }
  EXPECT_EQ(text_.problems.size(), 7u) << problems_;
}

// Fields of the plan that only people set, and those of other parts, go along.
TEST_F(PlanWriterTest, OtherFieldsGoAlong) {
  settings_.base = parsed(R"({"usage":{"path":"/data/usage.db"},"server":{"max_connections":50}})");
  settings_.control_url.clear();
  revision("default", "s-predictor-00001");
  service("default", "s", {{"s-predictor-00001", 100}});
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(plan->usage.path, "/data/usage.db");
  EXPECT_FALSE(plan->control.has_value());
}

TEST_F(PlanWriterTest, EqualWorldsMakeEqualTexts) {
  secret("default", "keys", R"({"data":{"k":"c2s="}})");
  for (int i = 0; i < 12; ++i) {
    const std::string name = "s" + std::to_string(i);
    revision("default", name + "-predictor-00001", i % 2 == 0 ? kSluice : kForeign, 3);
    service("default", name, {{name + "-predictor-00001", 100}});
    input_.providers.push_back(
        provider("default", "p" + name, R"({"url":"https://a.example","models":[{"name":"m"}]})"));
    input_.tenants.push_back(sluice_object("Tenant", "default", name, json::object()));
    input_.keys.push_back(sluice_object("ApiKey", "default", name,
                                        {{"tenant", name}, {"sha256", SecretDigest(name).hex()}}));
    input_.graphs.push_back(
        graph("g" + name,
              R"({"nodes":{"root":{"routerType":"Sequence","steps":[{"serviceName":"s1"}]}}})"));
  }
  write();
  const PlanText first = text_;
  EXPECT_EQ(problems_, "");
  Rng rng(5);
  const auto shuffle = [&rng](auto& list) {
    for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[rng.below(i)]);
  };
  for (int round = 0; round < 5; ++round) {
    shuffle(input_.services);
    shuffle(input_.revisions);
    shuffle(input_.providers);
    shuffle(input_.tenants);
    shuffle(input_.keys);
    shuffle(input_.graphs);
    for (PlanRevision& each : input_.revisions) shuffle(each.replicas);
    write();
    EXPECT_EQ(text_.text, first.text);
    EXPECT_EQ(text_.secrets, first.secrets);
  }
}

}  // namespace
}  // namespace sluice::platform
