// Providers, tenants, keys and graphs in plans.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/secret.h"
#include "control/json_util.h"
#include "plan/parse.h"
#include "platform/names.h"
#include "platform/parts_test_support.h"
#include "platform/plan_writer.h"
#include "platform/plan_writer_test_support.h"

namespace sluice::platform {
namespace {

using control::ObjectPtr;

using Headers = std::vector<std::pair<std::string, std::string>>;

TEST_F(PlanWriterTest, Providers) {
  secret("default", "keys", R"({"data":{"k":"c2stMTIzCg==","bad":"YSBi"}})");
  input_.providers = {
      provider("default", "b",
               R"({"url":"https://b.example/openai/v1/","apiKey":{"secretName":"keys",
          "key":"k"},"models":[{"name":"gpt","remoteName":"gpt-4o"},{"name":"big model!"}],
          "maxOutstanding":9,"timeoutSeconds":20,"weight":3,
          "headers":[{"name":"X-Team","value":"blue"},
                     {"name":"x-api-key","secret":{"secretName":"keys","key":"k"}}]})"),
      provider("default", "a", R"({"url":"https://a.example:8443","models":[{"name":"gpt"}],
          "timeoutSeconds":30})"),
      provider("default", "claude", R"({"url":"https://c.example","protocol":"anthropic",
          "apiKey":{"secretName":"keys","key":"k"},"models":[{"name":"claude"}]})"),
      provider("default", "badheader", R"({"url":"https://c.example","headers":[{"name":"host",
          "value":"x"}],"models":[{"name":"lost"}]})"),
      provider("default", "noheader", R"({"url":"https://c.example","headers":[{"name":"x-a",
          "secret":{"secretName":"keys","key":"none"}}],"models":[{"name":"lost"}]})"),
      provider("default", "nokey", R"({"url":"https://c.example","apiKey":{"secretName":"keys",
          "key":"none"},"models":[{"name":"lost"}]})"),
      provider("default", "badkey", R"({"url":"https://c.example","apiKey":{"secretName":"keys",
          "key":"bad"},"models":[{"name":"lost"}]})"),
      provider("default", "badurl", R"({"url":"https://c example","models":[{"name":"lost"}]})")};
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  const plan::Upstream* b = plan->find_upstream("provider:default/b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->endpoints[0].url, "https://b.example");
  EXPECT_EQ(b->path_prefix, "/openai");
  EXPECT_EQ(b->api_key, "sk-123");
  EXPECT_EQ(b->max_outstanding, 9);
  EXPECT_EQ(b->headers, (Headers{{"x-team", "blue"}, {"x-api-key", "sk-123"}}));
  EXPECT_FALSE(b->health.active);
  EXPECT_EQ(b->protocol, plan::Protocol::kOpenai);
  EXPECT_EQ(plan->find_upstream("provider:default/claude")->protocol, plan::Protocol::kAnthropic);
  EXPECT_FALSE(text_.text.contains("sk-123")) << "secrets stand in files of their own";
  EXPECT_EQ(targets(*plan, "default/gpt"), "provider:default/a:1 provider:default/b:3");
  const plan::Route* gpt = route(*plan, "default/gpt");
  EXPECT_EQ(gpt->targets[1].model, "gpt-4o");
  EXPECT_EQ(gpt->match.models, (Names{"gpt", "default/gpt"}));
  EXPECT_EQ(gpt->timeouts.total, std::chrono::seconds(30));
  ASSERT_NE(route(*plan, "default/big-model-"), nullptr);
  EXPECT_EQ(route(*plan, "default/big-model-")->match.models.front(), "big model!");
  EXPECT_EQ(route(*plan, "default/lost"), nullptr);
  for (const std::string_view part :
       {"Provider nokey: spec.apiKey: the key \"none\" of the Secret \"keys\" is not there",
        "Provider badkey: spec.apiKey: the key \"bad\" of the Secret \"keys\" holds no plain text",
        "Provider badheader: spec: ", "Provider noheader: spec.headers[0].secret: the key \"none\"",
        "Provider badurl: spec: "}) {
    EXPECT_TRUE(problems_.contains(part)) << part << " in\n" << problems_;
  }
}

TEST_F(PlanWriterTest, AServiceGoesBeforeAProvidersModelOfItsName) {
  revision("default", "gpt-predictor-00001");
  service("default", "gpt", {{"gpt-predictor-00001", 100}});
  input_.providers = {
      provider("default", "p", R"({"url":"https://a.example","models":[{"name":"gpt"}]})")};
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(targets(*plan, "default/gpt"), "default/gpt-predictor-00001:10000");
  EXPECT_TRUE(problems_.contains("Provider p: spec.models: \"gpt\"")) << problems_;
}

TEST_F(PlanWriterTest, TenantsAndKeys) {
  revision("team", "s-predictor-00001");
  service("team", "s", {{"s-predictor-00001", 100}});
  secret("team", "k", R"({"data":{"key":"c2stYWJj"}})");
  input_.tenants = {
      sluice_object("Tenant", "team", "crew", parsed(R"({"models":["s","gpt-*"],"priority":2,
          "weight":3,"limits":{"requestsPerMinute":5,"moneyPerDay":1.5,"tokensPerDay":0}})")),
      sluice_object("Tenant", "team", "narrow", parsed(R"({"routes":["gone"]})"))};
  const std::string digest = SecretDigest("sk-1").hex();
  const auto key = [](std::string_view name, std::string_view spec) {
    return sluice_object("ApiKey", "team", name, parsed(spec));
  };
  const std::string with_digest = R"("sha256":")" + digest + "\"}";
  input_.keys = {
      key("ci", R"({"tenant":"crew","routes":["s"],"expires":"2030-01-31T01:00:00+01:00",
          "admin":true,"limits":{"concurrency":2},)" +
                    with_digest),
      key("second", R"({"tenant":"crew",)" + with_digest),
      key("of-secret", R"({"tenant":"crew","secret":{"secretName":"k","key":"key"}})"),
      key("lost", R"({"tenant":"crew","secret":{"secretName":"none","key":"key"}})"),
      key("nobody", R"({"tenant":"gone",)" + with_digest),
      key("shut",
          R"({"tenant":"crew","routes":["gone"],"sha256":")" + SecretDigest("sk-2").hex() + "\"}"),
      key("closed", R"({"tenant":"narrow","sha256":")" + SecretDigest("sk-3").hex() + "\"}")};
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  EXPECT_FALSE(route(*plan, "team/s")->is_public) << "there are tenants";
  ASSERT_EQ(plan->tenants.size(), 2u);
  const plan::Tenant& crew = plan->tenants[0];
  EXPECT_EQ(crew.name, "team/crew");
  EXPECT_EQ(crew.models, (Names{"s", "gpt-*"}));
  EXPECT_EQ(crew.priority, 2);
  EXPECT_EQ(crew.limits.requests_per_minute, 5);
  EXPECT_EQ(crew.limits.micros_per_day, 1'500'000);
  ASSERT_EQ(crew.keys.size(), 2u);
  EXPECT_EQ(crew.keys[0].name, "ci");
  EXPECT_EQ(crew.keys[0].digest.hex(), digest);
  EXPECT_EQ(crew.keys[0].routes, (Names{"team/s", "team/s@host"}));
  EXPECT_DOUBLE_EQ(crew.keys[0].expires_unix.value(), 1896048000.0);  // 2030-01-31T00:00:00Z
  EXPECT_TRUE(crew.keys[0].admin);
  EXPECT_EQ(crew.keys[0].limits.max_concurrent, 2);
  EXPECT_TRUE(crew.keys[1].digest.matches(SecretDigest("sk-abc")));
  EXPECT_TRUE(plan->tenants[1].keys.empty()) << "named routes that are not there are not all";
  for (const std::string_view part :
       {"ApiKey second: the ApiKey \"ci\" has the same key",
        "ApiKey lost: spec.secret: ", "ApiKey nobody: spec.tenant: there is no Tenant \"gone\"",
        "ApiKey shut: spec.routes: ", "Tenant narrow: spec.routes: "}) {
    EXPECT_TRUE(problems_.contains(part)) << part << " in\n" << problems_;
  }
  EXPECT_FALSE(text_.text.contains("sk-"));
}

TEST_F(PlanWriterTest, Graphs) {
  revision("default", "s-predictor-00001");
  service("default", "s", {{"s-predictor-00001", 100}});
  input_.graphs = {
      graph("g", R"({"timeout":20,"nodes":{
        "b":{"routerType":"Switch","steps":[
             {"serviceUrl":"http://x.example/p","condition":"a==1"},
             {"serviceName":"s","condition":"b","data":"$response"}]},
        "root":{"routerType":"Sequence","steps":[
             {"name":"one","serviceName":"s","dependency":"Hard","weight":3},
             {"nodeName":"b","data":"$response","mapPredictionsToInstances":true,
              "sluice":{"timeoutSeconds":1.5,"retries":2,"fallbackNode":"c"}}]},
        "c":{"routerType":"Splitter","steps":[{"serviceName":"s","weight":40,"condition":"x"},
                                              {"serviceName":"s","weight":60}]}}})"),
      graph("lost",
            R"({"nodes":{"root":{"routerType":"Sequence","steps":[{"serviceName":"none"}]}}})"),
      graph("s", R"({"nodes":{"root":{"routerType":"Sequence","steps":[{"serviceName":"s"}]}}})"),
      graph("bad", R"({"nodes":{"root":{"routerType":"Switch","steps":[
             {"serviceName":"s","condition":"#(((("}]}}})")};
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  ASSERT_EQ(plan->graphs.size(), 1u) << problems_;
  const plan::Graph& made = plan->graphs[0];
  EXPECT_EQ(made.name, "default/g");
  EXPECT_EQ(made.models, (Names{"g", "default/g"}));
  EXPECT_EQ(made.hosts.front(), "g.default");
  EXPECT_EQ(made.timeout, std::chrono::seconds(20));
  EXPECT_TRUE(made.is_public);
  ASSERT_EQ(made.nodes.size(), 3u);
  EXPECT_EQ(made.nodes[0].name, "root");
  EXPECT_EQ(made.nodes[1].name, "b");
  const plan::GraphNode& root = made.entry();
  EXPECT_EQ(root.steps[0].route, "default/s");
  EXPECT_TRUE(root.steps[0].hard);
  EXPECT_EQ(root.steps[1].data, plan::GraphStep::Data::kResponse);
  EXPECT_TRUE(root.steps[1].map_predictions);
  EXPECT_EQ(root.steps[1].timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(root.steps[1].retries, 2);
  EXPECT_EQ(root.steps[1].fallback, "c");
  EXPECT_EQ(made.nodes[1].steps[0].condition, "a==1");
  EXPECT_EQ(made.nodes[2].steps[1].weight, 60);
  for (const std::string_view part :
       {"InferenceGraph lost: there is no InferenceService \"none\"",
        "InferenceGraph s: an InferenceService of this namespace", "InferenceGraph bad: spec: "}) {
    EXPECT_TRUE(problems_.contains(part)) << part << " in\n" << problems_;
  }
}

TEST_F(PlanWriterTest, AGraphsStepMayBeAProvidersModel) {
  input_.providers = {provider("default", "p", R"({"url":"https://a.example",
      "models":[{"name":"gpt 4.1"},{"name":"g"}]})")};
  input_.graphs = {
      graph("g", R"({"nodes":{"root":{"routerType":"Sequence",
                     "steps":[{"serviceName":"gpt 4.1"}]}}})"),
      graph("h", R"({"nodes":{"root":{"routerType":"Sequence","steps":[{"serviceName":"g"}]}}})")};
  const auto plan = write();
  ASSERT_NE(plan, nullptr);
  ASSERT_EQ(plan->graphs.size(), 1u) << problems_;
  EXPECT_EQ(plan->graphs[0].name, "default/g");
  EXPECT_EQ(plan->graphs[0].entry().steps[0].route, "default/gpt-4.1");
  EXPECT_EQ(route(*plan, "default/g"), nullptr) << "the graph goes before the provider's model";
  EXPECT_TRUE(problems_.contains("InferenceGraph h: there is no InferenceService \"g\""));
  EXPECT_TRUE(problems_.contains("Provider p: spec.models: \"g\" is another object's name"));
}

}  // namespace
}  // namespace sluice::platform
