#include "control/admission.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "control/selector.h"
#include "control/test_support.h"

namespace sluice::control {
namespace {

class AdmissionTest : public ObjectsTest {
 protected:
  ApiResult<Written> tried(const ResourceType& type, json::object body, Role role = Role::kAdmin) {
    return objects_->create(type, type.namespaced ? "default" : "", std::move(body), as(role));
  }
  // The first complaint, "field: message", or the warnings, or "taken".
  static std::string verdict(const ApiResult<Written>& written) {
    if (!written) {
      return written.error().causes.empty() ? written.error().message
                                            : cause_text(written.error().causes[0]);
    }
    return written->warnings.empty() ? "taken" : "warned: " + written->warnings[0];
  }
  ApiResult<Written> with_storage(const std::string& uri) {
    json::object body = service("a");
    object_of(object_of(object_of(body, "spec"), "predictor"), "model")["storageUri"] = uri;
    WriteOptions dry = as(Role::kAdmin);
    dry.dry_run = true;
    return objects_->create(services(), "default", std::move(body), dry);
  }
  static json::object graph(std::string_view nodes) {
    return parsed_object(R"({"metadata":{"name":"g"},"spec":{"nodes":)" + std::string(nodes) +
                         "}}");
  }
  std::string graph_verdict(std::string_view nodes) {
    WriteOptions dry = as(Role::kAdmin);
    dry.dry_run = true;
    return verdict(objects_->create(graphs(), "default", graph(nodes), dry));
  }
};

TEST_F(AdmissionTest, StorageSchemesAreTakenOrRefusedByName) {
  for (const char* good : {"file:///m", "pvc://c/m", "https://h/m.gguf", "hf://o/m", "/srv/m"}) {
    EXPECT_EQ(verdict(with_storage(good)), "taken") << good;
  }
  for (const char* bad : {"s3://b/m", "gs://b/m", "oci://r/m", "hdfs://x", "ftp://x", "hf://"}) {
    EXPECT_TRUE(verdict(with_storage(bad)).starts_with("spec.predictor.model.storageUri: ")) << bad;
  }
  EXPECT_TRUE(verdict(with_storage("s3://b/m")).contains("s3:// is not supported yet"));
}

TEST_F(AdmissionTest, ServicesThatContradictThemselves) {
  const auto verdict_of = [&](std::string_view predictor) {
    return verdict(tried(services(), service("a", predictor)));
  };
  EXPECT_TRUE(verdict_of(R"("minReplicas":3,"maxReplicas":2)")
                  .starts_with("spec.predictor.maxReplicas: Invalid value: 2: must be at least"));
  json::object none = service("a");
  object_of(object_of(none, "spec"), "predictor").erase("model");
  EXPECT_TRUE(verdict(tried(services(), none)).starts_with("spec.predictor: Required value"));
  json::object both = service("a", R"("canaryTrafficPercent":10)");
  object_of(both, "spec")["canary"] =
      parsed(R"([{"name":"c","trafficPercent":60,"predictor":{"name":"c","model":)"
             R"({"modelFormat":{"name":"gguf"},"storageUri":"hf://o/m"}}},)"
             R"({"name":"d","trafficPercent":60,"predictor":{"name":"d","model":)"
             R"({"modelFormat":{"name":"gguf"},"storageUri":"hf://o/m"}}}])");
  const auto refused = tried(services(), both);
  ASSERT_EQ(refused.error().causes.size(), 2u);
  EXPECT_EQ(refused.error().causes[0].field, "spec.canary");
  EXPECT_EQ(refused.error().causes[1].field, "spec.predictor.canaryTrafficPercent");
}

TEST_F(AdmissionTest, CanariesAreToldApartByTheirPredictors) {
  const auto with = [&](std::string_view first, std::string_view second) {
    const auto canary = [](std::string_view name) {
      return R"({"trafficPercent":10,"predictor":{"name":")" + std::string(name) +
             R"(","model":{"modelFormat":{"name":"gguf"},"storageUri":"hf://o/m"}}})";
    };
    json::object body = service("a");
    object_of(body, "spec")["canary"] = parsed("[" + canary(first) + "," + canary(second) + "]");
    return tried(services(), body);
  };
  EXPECT_EQ(with("c", "c").error().causes[0].field, "spec.canary[1].name");
  EXPECT_TRUE(with("c", "d").has_value());
}

TEST_F(AdmissionTest, SchedulesAreReadAtOnce) {
  const auto verdict_of = [&](std::string_view schedule) {
    json::object body = service("a");
    object_of(object_of(body, "spec"), "sluice")["scaling"] =
        parsed(R"({"schedules":[{"minReplicas":1,)" + std::string(schedule) + "}]}");
    return verdict(tried(services(), body));
  };
  EXPECT_TRUE(verdict_of(R"("from":"7:30","to":"18:00")")
                  .starts_with("spec.sluice.scaling.schedules[0].from"));
  EXPECT_TRUE(verdict_of(R"("from":"07:30","to":"24:01")")
                  .starts_with("spec.sluice.scaling.schedules[0].to"));
  EXPECT_TRUE(verdict_of(R"("days":"Mo-Fr","from":"07:30","to":"18:00")")
                  .starts_with("spec.sluice.scaling.schedules[0].days"));
  EXPECT_EQ(verdict_of(R"("days":"Mon-Fri,Sun","from":"07:30","to":"24:00")"), "taken");
}

TEST_F(AdmissionTest, CommandsOffTheAllowListNeedAdmin) {
  const auto runtime = [](std::string_view command) {
    return parsed_object(R"({"metadata":{"name":"r"},"spec":{"containers":[{"name":"c",)" +
                         std::string(command) + "}]}}");
  };
  const ResourceType& runtimes = *find_kind("serving.kserve.io/v1alpha1", "ServingRuntime");
  EXPECT_EQ(
      tried(runtimes, runtime(R"("command":["/bin/sh","-c","id"])"), Role::kEdit).error().code,
      403);
  EXPECT_EQ(
      tried(runtimes, runtime(R"("command":["sluice"],"env":[{"name":"LD_PRELOAD","value":"x"}])"),
            Role::kEdit)
          .error()
          .code,
      403);
  EXPECT_EQ(verdict(tried(runtimes, runtime(R"("command":["sluice","serve"])"), Role::kEdit)),
            "taken");
  json::object own = service("x", R"("containers":[{"name":"c","command":["/bin/sh"]}])");
  EXPECT_EQ(tried(services(), own, Role::kEdit).error().code, 403);
  EXPECT_TRUE(verdict(tried(services(), own))
                  .starts_with("warned: spec.predictor.containers[0] is not run: "));
  json::object model = service("y");
  object_of(object_of(object_of(model, "spec"), "predictor"), "model")["command"] =
      json::array{"/bin/sh"};
  EXPECT_EQ(tried(services(), model, Role::kEdit).error().code, 403);
}

TEST_F(AdmissionTest, GraphsWithCyclesOrDanglingNamesAreRefused) {
  EXPECT_TRUE(graph_verdict(R"({"root":{"routerType":"Sequence","steps":[{"nodeName":"b"}]},)"
                            R"("b":{"routerType":"Sequence","steps":[{"nodeName":"root"}]}})")
                  .contains("the nodes go in a circle: "));
  EXPECT_TRUE(graph_verdict(R"({"root":{"routerType":"Sequence","steps":[{"nodeName":"root"}]}})")
                  .contains("root → root"));
  EXPECT_TRUE(graph_verdict(R"({"root":{"routerType":"Sequence","steps":[{"nodeName":"x"}]}})")
                  .starts_with("spec.nodes.root.steps[0].nodeName: Invalid value: there is no "
                               "node \"x\""));
  EXPECT_TRUE(
      graph_verdict(R"({"a":{"routerType":"Sequence","steps":[{"serviceUrl":"http://x"}]}})")
          .starts_with("spec.nodes.root: Required value"));
  EXPECT_TRUE(graph_verdict(R"({"root":{"routerType":"Splitter","steps":[)"
                            R"({"serviceUrl":"http://x","weight":50}]}})")
                  .contains("sum to 100, these to 50"));
  EXPECT_TRUE(graph_verdict(R"({"root":{"routerType":"Sequence","steps":[{"name":"n"}]}})")
                  .contains("exactly one of serviceName, serviceUrl and nodeName; found none"));
  EXPECT_TRUE(graph_verdict(R"({"root":{"routerType":"Switch","steps":[{"serviceName":"a"}]}})")
                  .contains("condition"));
}

TEST_F(AdmissionTest, GraphsMayNameServicesThatComeLater) {
  EXPECT_TRUE(graph_verdict(R"({"root":{"routerType":"Sequence","steps":[{"serviceName":"a"}]}})")
                  .starts_with("warned: spec.nodes.root.steps[0].serviceName: there is no"));
  must_create(services(), service("a"));
  EXPECT_EQ(graph_verdict(R"({"root":{"routerType":"Sequence","steps":[{"serviceName":"a"}]}})"),
            "taken");
  EXPECT_TRUE(graph_verdict(R"({"root":{"routerType":"Sequence","steps":[{"serviceName":"a"}]},)"
                            R"("idle":{"routerType":"Sequence","steps":[{"serviceName":"a"}]}})")
                  .contains("spec.nodes.idle has no effect"));
}

TEST_F(AdmissionTest, AnLlmInferenceServiceIsAnsweredWithItsEquivalent) {
  const ResourceType& llm = *find_kind("serving.kserve.io/v1alpha1", "LLMInferenceService");
  const auto refused =
      tried(llm, parsed_object(R"({"metadata":{"name":"qwen"},"spec":{"replicas":2,"model":)"
                               R"({"uri":"hf://Qwen/Q","name":"q"}}})"));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, 400);
  for (const char* part : {"kind: InferenceService\n", "name: \"qwen\"\n", "minReplicas: 2\n",
                           "storageUri: \"hf://Qwen/Q\"\n"}) {
    EXPECT_TRUE(refused.error().message.contains(part)) << refused.error().message;
  }
}

TEST_F(AdmissionTest, SecretsFoldTheirTextAndMayBeImmutable) {
  const ResourceType& secrets = *find_kind("v1", "Secret");
  const auto made = tried(secrets, parsed_object(R"({"metadata":{"name":"s"},"immutable":true,)"
                                                 R"("stringData":{"k":"value"}})"));
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(text_at(made->object->body, "data.k"), "dmFsdWU=");
  EXPECT_FALSE(made->object->body.contains("stringData"));
  const auto changed = objects_->patch(key_of(*made->object), Subresource::kNone, PatchKind::kMerge,
                                       parsed(R"({"data":{"k":"eA=="}})"), as(Role::kAdmin));
  EXPECT_EQ(changed.error().causes.at(0).field, "data");
}

TEST_F(AdmissionTest, ApiKeysHoldADigestOrASecretAndNeverTheKey) {
  const ResourceType& keys = *find_kind("sluice.dev/v1alpha1", "ApiKey");
  const auto key = [](std::string_view spec) {
    return parsed_object(R"({"metadata":{"name":"k"},"spec":{"tenant":"t")" + std::string(spec) +
                         "}}");
  };
  EXPECT_TRUE(verdict(tried(keys, key(""))).contains("exactly one of sha256"));
  EXPECT_TRUE(verdict(tried(keys, key(R"(,"sha256":"abc")"))).contains("64 hex digits"));
  EXPECT_TRUE(verdict(tried(keys, key(R"(,"sha256":")" + std::string(64, 'a') + "\"")))
                  .contains("there is no Tenant"));
}

TEST_F(AdmissionTest, LabelsAreChecked) {
  json::object body = config_map("a");
  object_of(body, "metadata")["labels"] = json::object{{"a b", "c"}};
  EXPECT_TRUE(verdict(tried(config_maps(), body)).starts_with("metadata.labels: "));
}

TEST(Access, RolesAndSources) {
  const Access access({{{"a", Role::kAdmin}, SecretDigest("secret")}}, {"127.0.0.1", "::1"});
  EXPECT_EQ(access.identify("Bearer secret")->name, "a");
  EXPECT_EQ(access.identify("bearer secret")->name, "a");
  for (const char* bad : {"", "Bearer", "Bearer ", "Bearer Secret", "Basic secret", "secret"}) {
    EXPECT_EQ(access.identify(bad).error().code, 401) << bad;
  }
  EXPECT_TRUE(access.check_source("127.0.0.1:8001", "").has_value());
  EXPECT_TRUE(access.check_source("[::1]:8001", "").has_value());
  EXPECT_EQ(access.check_source("evil.example:8001", "").error().code, 403);
  EXPECT_EQ(access.check_source("127.0.0.1:8001", "https://evil.example").error().code, 403);

  const ResourceType& secrets = *find_kind("v1", "Secret");
  const auto may = [](Role role, Verb verb, const ResourceType& type) {
    return Access::authorize({"x", role}, verb, type, "default", "n").has_value();
  };
  EXPECT_TRUE(may(Role::kView, Verb::kWatch, services()));
  EXPECT_FALSE(may(Role::kView, Verb::kPatch, services()));
  EXPECT_FALSE(may(Role::kView, Verb::kGet, secrets));
  EXPECT_TRUE(may(Role::kEdit, Verb::kCreate, secrets));
  EXPECT_FALSE(may(Role::kEdit, Verb::kDelete, namespaces()));
  EXPECT_TRUE(may(Role::kAdmin, Verb::kDelete, namespaces()));

  // What the control plane makes by itself.
  const ResourceType& revisions = *find_kind("sluice.dev/v1alpha1", "Revision");
  const ResourceType& replicas = *find_kind("sluice.dev/v1alpha1", "Replica");
  for (const Verb verb : {Verb::kCreate, Verb::kUpdate, Verb::kPatch}) {
    EXPECT_FALSE(may(Role::kAdmin, verb, revisions));
    EXPECT_FALSE(may(Role::kAdmin, verb, replicas));
  }
  EXPECT_FALSE(may(Role::kAdmin, Verb::kDelete, revisions));
  EXPECT_TRUE(may(Role::kEdit, Verb::kDelete, replicas));
  EXPECT_FALSE(may(Role::kView, Verb::kDelete, replicas));
  EXPECT_TRUE(may(Role::kView, Verb::kList, revisions));
}

TEST(Selector, LabelsAndFields) {
  const json::object object = parsed_object(
      R"({"metadata":{"name":"a","labels":{"app":"x","v":"4"}},"type":"Warning","count":3})");
  const auto holds = [&](std::string_view labels, std::string_view fields = {}) {
    const auto selector = Selector::parse(labels, fields);
    EXPECT_TRUE(selector.has_value()) << labels << fields;
    return selector && selector->matches(object);
  };
  for (const char* good : {"", "app=x", "app==x", "app!=y", "app in (x,y)", "app notin (y)", "app",
                           "!legacy", "v>3", "v<5", "app=x,v in (4),!z", "none!=x"}) {
    EXPECT_TRUE(holds(good)) << good;
  }
  for (const char* bad : {"app=y", "app!=x", "!app", "legacy", "v>4", "app in (y)", "none=x"}) {
    EXPECT_FALSE(holds(bad)) << bad;
  }
  EXPECT_TRUE(holds("", "metadata.name=a,type!=Normal,count=3"));
  EXPECT_FALSE(holds("", "metadata.name=b"));
  EXPECT_TRUE(holds("", "spec.none="));
  for (const char* wrong : {"=x", "app=x,,", "app in x", "app in (x", "a b", "app=x y", "-a"}) {
    EXPECT_EQ(Selector::parse(wrong, "").error().code, 400) << wrong;
  }
  EXPECT_EQ(Selector::parse("", "name").error().code, 400);
}

}  // namespace
}  // namespace sluice::control
