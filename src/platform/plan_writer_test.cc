#include "platform/plan_writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "base/files.h"
#include "base/rng.h"
#include "base/secret.h"
#include "control/json_util.h"
#include "plan/parse.h"
#include "platform/names.h"
#include "platform/parts_test_support.h"
#include "platform/replica_template.h"

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;
using control::ObjectPtr;

constexpr std::string_view kSluice =
    R"({"component":"predictor","modelNames":["story"],"container":{"command":["sluice",
      "serve"]}})";
constexpr std::string_view kForeign =
    R"({"component":"predictor","container":{"command":["vllm"],
      "readinessProbe":{"httpGet":{"path":"/up","port":1}}}})";

class PlanWriterTest : public testing::Test {
 protected:
  PlanWriterTest() {
    settings_.secrets_folder = "/data/secrets";
    settings_.master = std::string(32, 'm');
    settings_.control_url = "http://127.0.0.1:9999";
    settings_.control_token_file = "/data/internal-token";
    input_.find_secret = [this](std::string_view ns, std::string_view name) -> ObjectPtr {
      const auto found = secrets_.find(std::string(ns) + "/" + std::string(name));
      return found == secrets_.end() ? nullptr : found->second;
    };
  }

  PlanRevision& revision(std::string_view ns, std::string_view name,
                         std::string_view spec = kSluice, int replicas = 1) {
    json::object body = parsed(spec);
    body["service"] = name.substr(0, name.find('-'));
    PlanRevision made{.object = sluice_object("Revision", ns, name, std::move(body)),
                      .replicas = {}};
    for (int i = 0; i < replicas; ++i) {
      made.replicas.push_back({std::string(name) + "-" + std::to_string(i),
                               "http://127.0.0.1:" + std::to_string(next_port_++)});
    }
    input_.revisions.push_back(std::move(made));
    return input_.revisions.back();
  }

  PlanService& service(std::string_view ns, std::string_view name,
                       std::vector<RevisionWeight> weights,
                       std::string_view spec = R"({"predictor":{}})") {
    input_.services.push_back(
        {.object = service_object(ns, name, spec), .predictor = std::move(weights)});
    return input_.services.back();
  }

  void secret(std::string_view ns, std::string_view name, std::string_view body) {
    secrets_[std::string(ns) + "/" + std::string(name)] = core_object("Secret", ns, name, body);
  }

  // The plan, which must be one that the gateway takes.
  std::shared_ptr<const plan::Plan> write() {
    text_ = write_plan(input_, settings_);
    problems_.clear();
    for (const PlanProblem& each : text_.problems) {
      problems_ +=
          std::string(each.object.type->kind) + " " + each.object.name + ": " + each.message + "\n";
    }
    const auto value = parse_json(text_.text);
    EXPECT_TRUE(value.has_value()) << text_.text;
    if (!value) return nullptr;
    const plan::SecretSource secrets{
        .environment = [](const std::string&) -> Result<std::string> { return invalid("none"); },
        .file = [this](const std::string& path) -> Result<std::string> {
          if (path == "/data/internal-token") return "internal";
          for (const SecretFile& each : text_.secrets) {
            if (path == "/data/secrets/" + each.name) return each.text;
          }
          return invalid("there is no " + path);
        }};
    auto plan = plan::plan_from_json(*value, secrets);
    EXPECT_TRUE(plan.has_value()) << (plan ? "" : plan.error().message()) << "\n" << text_.text;
    return plan ? *plan : nullptr;
  }

  static const plan::Route* route(const plan::Plan& plan, std::string_view name) {
    const auto found = std::ranges::find(plan.routes, name, &plan::Route::name);
    return found == plan.routes.end() ? nullptr : &*found;
  }
  static std::string targets(const plan::Plan& plan, std::string_view name) {
    const plan::Route* found = route(plan, name);
    if (found == nullptr) return "no route";
    std::string text;
    for (const plan::Target& each : found->targets) {
      text += (text.empty() ? "" : " ") + each.upstream + ":" +
              std::to_string(static_cast<int>(each.weight));
      for (const plan::HeaderMatch& when : each.when) text += "[" + when.value.value_or("*") + "]";
    }
    return text;
  }

  PlanInput input_;
  PlanSettings settings_;
  PlanText text_;
  std::string problems_;
  std::map<std::string, ObjectPtr> secrets_;
  int next_port_ = 20'000;
};

using Names = std::vector<std::string>;

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

using Headers = std::vector<std::pair<std::string, std::string>>;

ObjectPtr provider(std::string_view ns, std::string_view name, std::string_view spec) {
  return sluice_object("Provider", ns, name, parsed(spec));
}

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

ObjectPtr graph(std::string_view name, std::string_view spec) {
  return object_of("serving.kserve.io/v1alpha1", "InferenceGraph", "default", name,
                   {{"spec", parsed(spec)}});
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

class PublishTest : public PlanWriterTest {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "publish-plan";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    settings_.secrets_folder = folder_ / "secrets";
    settings_.control_token_file = folder_ / "token";
    ASSERT_TRUE(write_file_atomically(folder_ / "token", "t").has_value());
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<bool> publish() {
    return publish_plan(write_plan(input_, settings_), folder_ / "gateway.json",
                        settings_.secrets_folder);
  }
  std::string first_secret() const { return write_plan(input_, settings_).secrets.front().name; }
  size_t secret_files() const {
    size_t count = 0;
    for (const auto& entry : fs::directory_iterator(settings_.secrets_folder)) {
      count += entry.is_regular_file() ? 1 : 0;
    }
    return count;
  }
  static unsigned mode(const fs::path& path) {
    struct stat found{};
    EXPECT_EQ(::stat(path.c_str(), &found), 0);
    return found.st_mode & 0777;
  }

  fs::path folder_;
};

TEST_F(PublishTest, WritesWhereItDiffersAndTidiesUp) {
  EXPECT_EQ(publish().value(), true);
  EXPECT_EQ(publish().value(), false);
  EXPECT_EQ(mode(folder_ / "gateway.json"), 0600u);
  EXPECT_EQ(mode(settings_.secrets_folder), 0700u);
  revision("default", "s-predictor-00001");
  service("default", "s", {{"s-predictor-00001", 100}});
  EXPECT_EQ(publish().value(), true);
  EXPECT_EQ(secret_files(), 1u);
  const auto taken = plan::load_plan(folder_ / "gateway.json");
  ASSERT_TRUE(taken.has_value()) << taken.error().message();
  for (const auto& entry : fs::directory_iterator(settings_.secrets_folder)) {
    EXPECT_EQ(mode(entry.path()), 0600u);
  }
  input_.services.clear();
  input_.revisions.clear();
  EXPECT_EQ(publish().value(), true);
  EXPECT_EQ(secret_files(), 1u) << "the gateway may still be reading the plan before";
  settings_.max_held = 5;
  settings_.base["usage"] = json::object{{"path", "/x"}};
  EXPECT_EQ(publish().value(), true);
  EXPECT_EQ(secret_files(), 0u);
}

TEST_F(PublishTest, AThousandServices) {
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "service-number-" + std::to_string(i);
    revision("default", name + "-predictor-00001", kSluice, 2);
    service("default", name, {{name + "-predictor-00001", 100}});
  }
  EXPECT_EQ(publish().value(), true);
  EXPECT_EQ(secret_files(), 1000u);
  EXPECT_EQ(publish().value(), false);
  const fs::path emptied = settings_.secrets_folder / first_secret();
  ASSERT_TRUE(write_file_atomically(emptied, "").has_value());  // as after the machine's end
  EXPECT_EQ(publish().value(), false);
  EXPECT_EQ(fs::file_size(emptied), 64u);
}

TEST_F(PublishTest, NeverPublishesWhatTheGatewayWouldRefuse) {
  EXPECT_EQ(publish().value(), true);
  settings_.base["colour"] = "red";
  const auto refused = publish();
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(refused.error().message().contains("colour")) << refused.error().message();
  settings_.base.clear();
  EXPECT_EQ(publish().value(), false) << "the one before still stands there";
}

}  // namespace
}  // namespace sluice::platform
