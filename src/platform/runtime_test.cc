// Which runtime, and what it runs: runtime_choice, placeholders, revision_spec, replica_template.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "control/json_util.h"
#include "control/objects.h"
#include "platform/names.h"
#include "platform/parts_test_support.h"
#include "platform/placeholders.h"
#include "platform/replica_environment.h"
#include "platform/replica_probes.h"
#include "platform/replica_template.h"
#include "platform/revision_spec.h"
#include "platform/runtime_choice.h"

namespace sluice::platform {
namespace {

using control::ObjectPtr;
using control::text_at;

TEST(Names, FitTheGatewayHoweverLongTheServiceIs) {
  EXPECT_EQ(revision_name("story", Component::kPredictor, "", 7), "story-predictor-00007");
  EXPECT_EQ(revision_name("story", Component::kTransformer, "", 1), "story-transformer-00001");
  EXPECT_EQ(revision_name("story", Component::kPredictor, "next", 2), "story-next-predictor-00002");
  const std::string a(63, 'a');
  const std::string cut = revision_name(a, Component::kPredictor, "", 1);
  const std::string other = revision_name(a, Component::kPredictor, "b", 1);
  EXPECT_LE(cut.size(), kMaxRevisionName);
  EXPECT_NE(cut, other);
  EXPECT_TRUE(cut.ends_with("-predictor-00001"));
  EXPECT_LE(upstream_name(a, cut).size(), 128u);
}

std::string chosen(std::string_view model, std::vector<ObjectPtr> of_namespace,
                   std::vector<ObjectPtr> of_cluster) {
  const auto found = choose_runtime(parsed(model), "team", of_namespace, of_cluster);
  if (!found) return found.error().reason() + ": " + found.error().message();
  return std::string((*found)->type->kind) + " " + (*found)->name;
}

constexpr std::string_view kServesGguf =
    R"({"supportedModelFormats":[{"name":"gguf","autoSelect":true}],
      "containers":[{"command":["x"]}]})";

TEST(RuntimeChoice, OfTheNamespaceBeforeOfTheClusterWhateverThePriority) {
  const ObjectPtr mine = runtime_object("team", "mine", kServesGguf);
  const ObjectPtr ours =
      runtime_object("", "ours",
                     R"({"supportedModelFormats":[{"name":"gguf","autoSelect":true,"priority":9}],
      "containers":[]})");
  constexpr std::string_view kModel = R"({"modelFormat":{"name":"gguf"}})";
  EXPECT_EQ(chosen(kModel, {mine}, {ours}), "ServingRuntime mine");
  EXPECT_EQ(chosen(kModel, {}, {ours}), "ClusterServingRuntime ours");
}

TEST(RuntimeChoice, PriorityThenProtocolThenAgeThenName) {
  const auto runtime = [](std::string_view name, std::string_view format,
                          std::string_view protocols, std::string_view made) {
    json::object spec = parsed(R"({"containers":[]})");
    spec["supportedModelFormats"] = json::array{json::value(parsed(format))};
    spec["protocolVersions"] = parse_json(protocols).value();
    return object_of(
        "serving.kserve.io/v1alpha1", "ClusterServingRuntime", "", name,
        {{"metadata", json::object{{"creationTimestamp", made}}}, {"spec", std::move(spec)}});
  };
  constexpr std::string_view kPlain = R"({"name":"f","autoSelect":true})";
  constexpr std::string_view kFirst = R"({"name":"f","autoSelect":true,"priority":2})";
  const ObjectPtr unset = runtime("a", kPlain, R"(["v1"])", "2026-01-03T00:00:00Z");
  const ObjectPtr high = runtime("z", kFirst, R"(["v1"])", "2026-01-01T00:00:00Z");
  const ObjectPtr young = runtime("y", kPlain, R"(["v1"])", "2026-01-04T00:00:00Z");
  const ObjectPtr twin = runtime("b", kPlain, R"(["v1"])", "2026-01-03T00:00:00Z");
  const ObjectPtr any = runtime("any", kPlain, R"([])", "2026-01-09T00:00:00Z");
  constexpr std::string_view kModel = R"({"modelFormat":{"name":"f"}})";
  EXPECT_EQ(chosen(kModel, {}, {unset, high, young}), "ClusterServingRuntime z");
  EXPECT_EQ(chosen(kModel, {}, {unset, young, any}), "ClusterServingRuntime y");
  EXPECT_EQ(chosen(kModel, {}, {twin, unset}), "ClusterServingRuntime a");
}

TEST(RuntimeChoice, SaysOfEveryCandidateWhyItWasNotTaken) {
  const std::string why =
      chosen(R"({"modelFormat":{"name":"gguf","version":"3"},"protocolVersion":"v2"})",
             {runtime_object("team", "off", R"({"disabled":true,"containers":[]})"),
              runtime_object("team", "mesh", R"({"multiModel":true,"containers":[]})")},
             {runtime_object("", "old", R"({"protocolVersions":["v1"],"containers":[]})"),
              runtime_object(
                  "", "manual",
                  R"({"supportedModelFormats":[{"name":"gguf","version":"3"}],"containers":[]})"),
              runtime_object("", "other", kServesGguf)});
  EXPECT_TRUE(why.starts_with("NoSupportingRuntime: ")) << why;
  for (const std::string_view part :
       {"format \"gguf\" version \"3\" by the protocol v2", "ServingRuntime off: it is disabled",
        "ServingRuntime mesh: it is multiModel", "ClusterServingRuntime old: it speaks v1, not v2",
        "manual: it has no autoSelect", "other: it serves gguf"}) {
    EXPECT_TRUE(why.contains(part)) << part << " in " << why;
  }
}

TEST(RuntimeChoice, ByName) {
  const ObjectPtr mine =
      runtime_object("team", "r", R"({"supportedModelFormats":[{"name":"gguf"}],"containers":[]})");
  const ObjectPtr same_name = runtime_object("", "r", kServesGguf);
  const ObjectPtr off = runtime_object(
      "", "off", R"({"disabled":true,"supportedModelFormats":[{"name":"gguf"}],"containers":[]})");
  constexpr std::string_view kModel = R"({"modelFormat":{"name":"gguf"},"runtime":"r"})";
  EXPECT_EQ(chosen(kModel, {mine}, {same_name}), "ServingRuntime r");  // without autoSelect
  EXPECT_EQ(chosen(kModel, {}, {same_name}), "ClusterServingRuntime r");
  EXPECT_TRUE(chosen(R"({"modelFormat":{"name":"gguf"},"runtime":"off"})", {mine}, {off})
                  .starts_with("RuntimeDisabled: "));
  EXPECT_TRUE(chosen(R"({"modelFormat":{"name":"onnx"},"runtime":"r"})", {mine}, {})
                  .starts_with("NoSupportingRuntime: the ServingRuntime \"r\" does not serve"));
  const std::string unknown =
      chosen(R"({"modelFormat":{"name":"gguf"},"runtime":"q"})", {mine}, {off});
  EXPECT_TRUE(unknown.starts_with("RuntimeNotRecognized: ") && unknown.contains("r, off"))
      << unknown;
}

TEST(BuiltInRuntime, IsMadeOnceAndPutRight) {
  auto store = control::ObjectStore::open_in_memory();
  ASSERT_TRUE(store.has_value());
  control::Objects objects(**store);
  ASSERT_TRUE(objects.bootstrap().has_value());
  ASSERT_TRUE(ensure_built_in_runtime(objects).has_value());
  const control::ObjectKey key{
      control::find_kind("serving.kserve.io/v1alpha1", "ClusterServingRuntime"), "", "sluice"};
  const ObjectPtr made = (*store)->get(key);
  ASSERT_NE(made, nullptr);
  ASSERT_TRUE(ensure_built_in_runtime(objects).has_value());
  EXPECT_EQ((*store)->get(key)->version, made->version) << "nothing differs, nothing is written";
  json::object body = made->body;
  control::object_of(body, "spec")["disabled"] = true;
  ASSERT_TRUE(objects
                  .update(key, control::Subresource::kNone, body,
                          {.who = {"admin", control::Role::kAdmin}, .manager = "t"})
                  .has_value());
  ASSERT_TRUE(ensure_built_in_runtime(objects).has_value());
  EXPECT_FALSE(control::true_at((*store)->get(key)->body, "spec.disabled"));
  for (const std::string_view format : {"gguf", "safetensors", "huggingface", "sluice", "vLLM"}) {
    EXPECT_EQ(chosen(R"({"modelFormat":{"name":")" + std::string(format) + "\"}}", {}, {made}),
              "ClusterServingRuntime sluice");
  }
}

TEST(Placeholders, AreFilledAndOtherBracesStay) {
  const json::object metadata = parsed(
      R"({"name":"story","namespace":"team","labels":{"a":"1"},"annotations":{"x.io/y":"2"}})");
  const auto filled = [&](std::string_view text) {
    const auto out = fill_placeholders(text, metadata);
    return out ? *out : "refused: " + out.error().message();
  };
  EXPECT_EQ(filled("--name={{.Name}} {{ .Namespace }}"), "--name=story team");
  EXPECT_EQ(filled("{{.Labels.a}}{{.Labels.b}}|{{index .Annotations \"x.io/y\"}}"), "1|2");
  EXPECT_EQ(filled("{{ messages[0] }}{% if x %}"), "{{ messages[0] }}{% if x %}");
  EXPECT_EQ(filled("{{.Name"), "{{.Name");
  EXPECT_EQ(filled("{{}}"), "{{}}");
  EXPECT_TRUE(filled("{{.Spec.X}}").contains("refused: the placeholder {{.Spec.X}}"));
}

TEST(Variables, ExpandAsInKubernetes) {
  const auto value_of = [](std::string_view name) -> std::optional<std::string> {
    if (name == "A") return "1";
    if (name == "B") return "$(A)";
    return std::nullopt;
  };
  size_t room = 100;
  EXPECT_EQ(*expand_variables("$(A)-$(B)-$(C)", value_of, room), "1-$(A)-$(C)");
  EXPECT_EQ(room, 100u - 11);
  EXPECT_EQ(*expand_variables("$$(A) $ $( $A $(A", value_of, room), "$(A) $ $( $A $(A");
  EXPECT_EQ(*expand_variables("", value_of, room), "");
}

TEST(Variables, WhatTheyStandForIsBounded) {
  const json::object metadata{{"name", "x"},
                              {"annotations", json::object{{"long", std::string(100'000, 'a')}}}};
  std::string text;
  for (int i = 0; i < 11; ++i) text += "{{.Annotations.long}}";
  const auto filled = fill_placeholders(text, metadata);
  ASSERT_FALSE(filled);
  EXPECT_TRUE(filled.error().message().contains("more than 1048576 bytes"));
  // Each is ten times the one before.
  json::array variables{json::object{{"name", "V0"}, {"value", "0123456789"}}};
  for (int i = 1; i < 9; ++i) {
    std::string value;
    for (int k = 0; k < 10; ++k) value += "$(V" + std::to_string(i - 1) + ")";
    variables.push_back(json::object{{"name", "V" + std::to_string(i)}, {"value", value}});
  }
  const auto environment = replica_environment({{"env", std::move(variables)}}, {});
  ASSERT_FALSE(environment);
  EXPECT_EQ(environment.error().reason(), "InvalidPredictorSpec");
  EXPECT_TRUE(environment.error().message().contains("env V5: "));
}

TEST(RevisionSpec, ServersBeforeAPredictorAreToldWhereItIs) {
  const ObjectPtr service = service_object("team", "story", R"({"predictor":{}})");
  const auto arguments = [&](std::string_view container, Component kind) {
    const json::object component{{"containers", json::array{parsed(container)}}};
    const auto spec =
        revision_spec({.service = service->body, .component = component, .kind = kind});
    EXPECT_TRUE(spec) << spec.error().message();
    const auto made = replica_template(*spec, {.id = "r",
                                               .ns = "team",
                                               .sluice_program = "/bin/sluice",
                                               .predictor_host = "127.0.0.1:8000/predictors/x",
                                               .find = {}});
    EXPECT_TRUE(made) << made.error().message();
    return made ? made->command : std::vector<std::string>();
  };
  using Words = std::vector<std::string>;
  EXPECT_EQ(arguments(R"({"command":["t"],"args":["-v"]})", Component::kTransformer),
            (Words{"t", "-v", "--model_name", "story", "--predictor_host",
                   "127.0.0.1:8000/predictors/x", "--http_port", "$(PORT)"}));
  EXPECT_EQ(arguments(R"x({"command":["t","--model_name=m","--port","$(PORT)"]})x",
                      Component::kExplainer),
            (Words{"t", "--model_name=m", "--port", "$(PORT)", "--predictor_host",
                   "127.0.0.1:8000/predictors/x"}));
  EXPECT_EQ(arguments(R"({"command":["t","8080"],"ports":[{"containerPort":8080}]})",
                      Component::kTransformer),
            (Words{"t", "$(PORT)", "--model_name", "story", "--predictor_host",
                   "127.0.0.1:8000/predictors/x"}));
  EXPECT_EQ(arguments(R"({"command":["t"]})", Component::kPredictor), (Words{"t"}));
}

// The spec of a service's predictor over a runtime.
Result<json::object> spec_of(std::string_view predictor, std::string_view runtime) {
  const ObjectPtr service = service_object("team", "story", R"({"predictor":{}})");
  const json::object component = parsed(predictor);
  const ObjectPtr object = runtime.empty() ? nullptr : runtime_object("team", "r", runtime);
  return revision_spec({.service = service->body,
                        .component = component,
                        .runtime = object == nullptr ? nullptr : &object->body});
}

json::object must_spec(std::string_view predictor, std::string_view runtime) {
  auto spec = spec_of(predictor, runtime);
  EXPECT_TRUE(spec.has_value()) << (spec ? "" : spec.error().message());
  return spec ? *std::move(spec) : json::object();
}

constexpr std::string_view kRuntime = R"({
  "containers":[{"name":"kserve-container","image":"x:1","command":["server"],
    "args":["--model=/mnt/models","--model_name={{.Name}}"],
    "env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],
    "resources":{"limits":{"cpu":"1","memory":"2Gi"},"requests":{"memory":"1Gi"}},
    "readinessProbe":{"httpGet":{"path":"/r","port":8080},"periodSeconds":3}}],
  "labels":{"from":"runtime","keep":"1"},"terminationGracePeriodSeconds":20})";

TEST(RevisionSpec, MergesTheServiceOverTheRuntime) {
  const json::object spec = must_spec(R"({
    "model":{"modelFormat":{"name":"gguf"},"storageUri":"file:///m.gguf","args":["--more"],
      "env":[{"name":"B","value":"3"},{"name":"C","value":"4"}],
      "resources":{"limits":{"memory":"4Gi"}},
      "readinessProbe":{"tcpSocket":{"port":8080}}},
    "containerConcurrency":3,"timeout":60,"labels":{"from":"service"}})",
                                      kRuntime);
  EXPECT_EQ(json::serialize(spec.at("container").at("args")),
            R"(["--model=/mnt/models","--model_name=story","--more"])");
  EXPECT_EQ(json::serialize(spec.at("container").at("env")),
            R"([{"name":"A","value":"1"},{"name":"B","value":"3"},{"name":"C","value":"4"}])");
  EXPECT_EQ(text_at(spec, "container.resources.limits.memory"), "4Gi");
  EXPECT_EQ(text_at(spec, "container.resources.limits.cpu"), "1");
  EXPECT_EQ(control::find_path(spec, "container.readinessProbe.httpGet"), nullptr);
  EXPECT_EQ(control::integer_at(spec, "container.readinessProbe.periodSeconds"), 3);
  EXPECT_EQ(control::find_path(spec, "container.image"), nullptr) << "no image is run";
  EXPECT_EQ(text_at(spec, "labels.from"), "service");
  EXPECT_EQ(text_at(spec, "labels.keep"), "1");
  EXPECT_EQ(control::integer_at(spec, "terminationGracePeriodSeconds"), 20);
  EXPECT_EQ(control::integer_at(spec, "containerConcurrency"), 3);
  EXPECT_EQ(control::integer_at(spec, "timeoutSeconds"), 60);
  EXPECT_EQ(json::serialize(spec.at("modelNames")), R"(["story"])");
  EXPECT_EQ(text_at(spec, "runtime.kind"), "ServingRuntime");
  EXPECT_EQ(text_at(spec, "component"), "predictor");
}

TEST(RevisionSpec, TakesTheContainerThatKServeNames) {
  const json::object own = must_spec(R"({"containers":[{"name":"side","command":["a"]},
      {"name":"kserve-container","command":["b"]}]})",
                                     "");
  EXPECT_EQ(json::serialize(own.at("container").at("command")), R"(["b"])");
  const json::object beside = must_spec(R"({"model":{"storageUri":"/x"},"containers":[
      {"name":"side","command":["a"]},{"name":"kserve-container","args":["--own"]}]})",
                                        kRuntime);
  EXPECT_EQ(json::serialize(beside.at("container").at("args")),
            R"(["--model=/mnt/models","--model_name=story","--own"])");
}

TEST(RevisionSpec, HashDependsOnWhatRunsAndOnNothingElse) {
  const auto hash = [](std::string_view predictor, std::string_view runtime) {
    return std::string(text_at(must_spec(predictor, runtime), "templateHash"));
  };
  constexpr std::string_view kModel =
      R"({"model":{"modelFormat":{"name":"gguf"},"storageUri":"file:///a","args":["x"]},
      "minReplicas":1})";
  const std::string first = hash(kModel, kRuntime);
  EXPECT_EQ(first.size(), 16u);
  EXPECT_EQ(first, hash(R"({"minReplicas":5,"canaryTrafficPercent":10,"labels":{"a":"b"},
                     "model":{"args":["x"],"storageUri":"file:///a",
      "modelFormat":{"name":"gguf"}}})",
                        kRuntime));
  EXPECT_NE(
      first,
      hash(R"({"model":{"modelFormat":{"name":"gguf"},"storageUri":"file:///b","args":["x"]}})",
           kRuntime));
  EXPECT_NE(
      first,
      hash(R"({"model":{"modelFormat":{"name":"gguf"},"storageUri":"file:///a","args":["y"]}})",
           kRuntime));
  EXPECT_NE(first, hash(kModel, R"({"containers":[{"command":["other"]}]})"));
}

TEST(RevisionSpec, SaysWhatIsWrong) {
  const auto why = [](std::string_view predictor, std::string_view runtime) {
    const auto spec = spec_of(predictor, runtime);
    EXPECT_FALSE(spec.has_value());
    if (spec) return std::string();
    EXPECT_EQ(spec.error().reason(), "InvalidPredictorSpec");
    return spec.error().param() + ": " + spec.error().message();
  };
  EXPECT_TRUE(why(R"({"containers":[{"name":"a","command":["x"]},{"name":"b"}]})", "")
                  .contains("a replica is one process; found a, b"));
  EXPECT_TRUE(why(R"({"containers":[{"name":"a","image":"x"}]})", "").contains("no command"));
  EXPECT_TRUE(why(R"({"containers":[]})", "").contains("found none"));
  EXPECT_TRUE(why(R"({"model":{"modelFormat":{"name":"gguf"}}})", kRuntime)
                  .contains("storageUri: required"));
  EXPECT_TRUE(
      why(R"({"model":{"args":["{{.Nmae}}"],"storageUri":"/x"}})", kRuntime).contains("{{.Nmae}}"));
}

TEST(RevisionSpec, FindsHowTheServerCallsItsModel) {
  const auto names = [](std::string_view container) {
    const json::object spec = must_spec(R"({"containers":[)" + std::string(container) + "]}", "");
    const json::value* found = spec.if_contains("modelNames");
    return found == nullptr ? std::string() : json::serialize(*found);
  };
  EXPECT_EQ(names(R"({"command":["v"],"args":["--served-model-name","a","b","--x"]})"),
            R"(["a","b"])");
  EXPECT_EQ(names(R"({"command":["v","--model_name=a"]})"), R"(["a"])");
  EXPECT_EQ(names(R"({"command":["v"],"env":[{"name":"MODEL_NAME","value":"m"}]})"), R"(["m"])");
  EXPECT_EQ(names(R"({"command":["v"],"args":["--model"]})"), "");
}

class ReplicaTemplateTest : public testing::Test {
 protected:
  ReplicaTemplateTest() {
    place_.id = "team.story-0";
    place_.ns = "team";
    place_.sluice_program = "/opt/sluice";
    place_.find = [this](std::string_view kind, std::string_view name) -> ObjectPtr {
      const auto found = core_.find(std::string(kind) + "/" + std::string(name));
      return found == core_.end() ? nullptr : found->second;
    };
  }

  void add(std::string_view kind, std::string_view name, std::string_view body) {
    core_[std::string(kind) + "/" + std::string(name)] = core_object(kind, "team", name, body);
  }

  Result<process::ReplicaSpec> made(std::string_view container,
                                    json::object more = json::object()) const {
    more["container"] = parsed(container);
    return replica_template(more, place_);
  }
  process::ReplicaSpec must(std::string_view container, json::object more = json::object()) const {
    auto spec = made(container, std::move(more));
    EXPECT_TRUE(spec.has_value()) << (spec ? "" : spec.error().message());
    return spec ? *std::move(spec) : process::ReplicaSpec{};
  }

  static std::map<std::string, std::string> environment(const process::ReplicaSpec& spec) {
    return {spec.environment.begin(), spec.environment.end()};
  }

  std::map<std::string, ObjectPtr> core_;
  ReplicaPlace place_;
};

using Words = std::vector<std::string>;

TEST_F(ReplicaTemplateTest, VariablesOfSecretsAndConfigMaps) {
  add("Secret", "s", R"({"data":{"KEY":"c2VjcmV0","not=a name":"eA=="}})");
  add("ConfigMap", "c", R"({"data":{"ONE":"1","TWO":"2"}})");
  const auto spec = must(R"j({"command":["v","$(X_ONE)-$(OWN)-$(NOBODY)"],
    "envFrom":[{"prefix":"X_","configMapRef":{"name":"c"}},{"secretRef":{"name":"gone",
      "optional":true}},
               {"secretRef":{"name":"s"}}],
    "env":[{"name":"OWN","value":"$(KEY)!"},{"name":"X_TWO","value":"over"},
           {"name":"REF","valueFrom":{"secretKeyRef":{"name":"s","key":"KEY"}}},
           {"name":"MAYBE","valueFrom":{"configMapKeyRef":{"name":"c","key":"no",
      "optional":true}}}]})j");
  EXPECT_EQ(spec.command, (Words{"v", "1-secret!-$(NOBODY)"}));
  EXPECT_EQ(environment(spec), (std::map<std::string, std::string>{{"KEY", "secret"},
                                                                   {"OWN", "secret!"},
                                                                   {"REF", "secret"},
                                                                   {"X_ONE", "1"},
                                                                   {"X_TWO", "over"}}));
}

TEST_F(ReplicaTemplateTest, NamesWhatIsMissing) {
  const auto why = [&](std::string_view container) {
    const auto spec = made(container);
    EXPECT_FALSE(spec.has_value());
    if (spec) return std::string();
    EXPECT_EQ(spec.error().reason(), "CreateContainerConfigError");
    return spec.error().message();
  };
  EXPECT_TRUE(why(R"({"command":["v"],"envFrom":[{"secretRef":{"name":"gone"}}]})")
                  .contains("the Secret \"gone\""));
  add("Secret", "s", R"({"data":{}})");
  EXPECT_TRUE(why(R"({"command":["v"],"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s",
      "key":"k"}}}]})")
                  .contains("has no such key"));
}

TEST_F(ReplicaTemplateTest, TheModelStaysWhereItIs) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "replica-template";
  std::filesystem::create_directories(folder);
  const std::string file = (folder / "m.gguf").string();
  std::ofstream(file) << "x";
  constexpr std::string_view kContainer =
      R"({"command":["v","/mnt/models","--m=/mnt/models/","/mnt/models/t.json","/mnt/models2"],
          "env":[{"name":"DIR","value":"/mnt/models"}]})";
  place_.model_path = file;
  const auto of_file = must(kContainer);
  EXPECT_EQ(of_file.command,
            (Words{"v", file, "--m=" + file, (folder / "t.json").string(), "/mnt/models2"}));
  EXPECT_EQ(environment(of_file)["DIR"], file);
  place_.model_path = folder.string();
  const auto of_folder = must(kContainer);
  EXPECT_EQ(of_folder.command, (Words{"v", folder.string(), "--m=" + folder.string(),
                                      (folder / "t.json").string(), "/mnt/models2"}));
  place_.model_path = "/mnt/models/inside";  // is not replaced once more
  const auto inside =
      must(R"j({"command":["v","$(D)"],"env":[{"name":"D","value":"/mnt/models"}]})j");
  EXPECT_EQ(inside.command, (Words{"v", "/mnt/models/inside"}));
  place_.model_path.clear();
  const auto early = made(R"({"command":["v"]})", {{"storageUri", "hf://a/b"}});
  ASSERT_FALSE(early.has_value());
  EXPECT_EQ(early.error().reason(), "ModelNotReady");
  std::filesystem::remove_all(folder);
}

TEST_F(ReplicaTemplateTest, ThePortOfTheImageBecomesTheReplicasOwn) {
  const auto spec =
      must(R"({"command":["v","--port=8080","--bind","0.0.0.0:8080","8080","--x=18080"],
    "ports":[{"name":"grpc","containerPort":9000},{"name":"http1","containerPort":8080}],
    "env":[{"name":"HTTP_PORT","value":"8080"},{"name":"PORT","value":"8080"},{"name":"N",
      "value":"8080"}]})");
  EXPECT_EQ(spec.command,
            (Words{"v", "--port=$(PORT)", "--bind", "0.0.0.0:$(PORT)", "$(PORT)", "--x=18080"}));
  EXPECT_EQ(environment(spec),
            (std::map<std::string, std::string>{{"HTTP_PORT", "$(PORT)"}, {"N", "8080"}}));
  const auto told =
      must(R"j({"command":["v","$(PORT)","8080"],"ports":[{"containerPort":8080}]})j");
  EXPECT_EQ(told.command, (Words{"v", "$(PORT)", "8080"}));
}

TEST_F(ReplicaTemplateTest, Bounds) {
  const json::object more = parsed(R"({"terminationGracePeriodSeconds":7,"container":{}})");
  const auto spec = must(R"({"command":["v"],"workingDir":"/w","resources":{
      "limits":{"memory":"1Gi","cpu":"1500m"},"requests":{"memory":"256Mi","cpu":2}}})",
                         more);
  EXPECT_EQ(spec.memory_bytes, uint64_t{1} << 30);
  EXPECT_DOUBLE_EQ(spec.cpus, 1.5);
  EXPECT_EQ(spec.grace, std::chrono::seconds(7));
  EXPECT_EQ(spec.working_folder, "/w");
  EXPECT_FALSE(spec.takes_socket);
  json::object revision;
  revision["container"] =
      parsed(R"({"resources":{"limits":{"memory":"1Gi"},"requests":{"cpu":"250m"}}})");
  EXPECT_EQ(replica_needs(revision).memory_bytes, uint64_t{1} << 30);
  EXPECT_DOUBLE_EQ(replica_needs(revision).cpus, 0.25);
}

TEST_F(ReplicaTemplateTest, Probes) {
  const auto spec = must(R"({"command":["v"],"ports":[{"name":"web","containerPort":80}],
    "readinessProbe":{"httpGet":{"path":"r","port":"web","scheme":"HTTPS",
      "httpHeaders":[{"name":"A","value":"b"}]},
                      "initialDelaySeconds":4,"periodSeconds":0,"failureThreshold":9},
    "livenessProbe":{"tcpSocket":{"port":80}},"startupProbe":{"exec":{"command":["x"]}}})");
  ASSERT_TRUE(spec.readiness && spec.liveness);
  EXPECT_FALSE(spec.startup);
  EXPECT_EQ(spec.readiness->path, "/r");
  EXPECT_TRUE(spec.readiness->https);
  EXPECT_EQ(spec.readiness->headers.size(), 1u);
  EXPECT_EQ(spec.readiness->initial_delay, std::chrono::seconds(4));
  EXPECT_EQ(spec.readiness->period, std::chrono::seconds(1));
  EXPECT_EQ(spec.readiness->failure_threshold, 9);
  EXPECT_EQ(spec.liveness->kind, process::Probe::Kind::kTcp);
  for (const std::string_view port : {"81", "\"other\""}) {
    const auto wrong = made(R"({"command":["v"],"ports":[{"containerPort":80}],
        "livenessProbe":{"httpGet":{"port":)" +
                            std::string(port) + "}}}");
    ASSERT_FALSE(wrong.has_value());
    EXPECT_EQ(wrong.error().reason(), "InvalidPredictorSpec");
  }
}

TEST_F(ReplicaTemplateTest, ASluiceServeTakesItsSocketAndItsSecrets) {
  place_.secrets = deployment_secrets(std::string(32, 'm'), "team", "story-1");
  place_.model_path = "/models/m.gguf";
  const ObjectPtr runtime = object_of("serving.kserve.io/v1alpha1", "ClusterServingRuntime", "",
                                      "sluice", built_in_runtime());
  const ObjectPtr service = service_object("team", "story", R"({"predictor":{}})");
  const json::object component =
      parsed(R"({"model":{"storageUri":"file:///models/m.gguf","args":["--max-num-seqs","4"]}})");
  auto revision =
      revision_spec({.service = service->body, .component = component, .runtime = &runtime->body});
  ASSERT_TRUE(revision.has_value());
  EXPECT_TRUE(is_sluice_serve(*revision));
  EXPECT_EQ(json::serialize(revision->at("modelNames")), R"(["story"])");
  auto spec = replica_template(*revision, place_);
  ASSERT_TRUE(spec.has_value());
  EXPECT_EQ(spec->command,
            (Words{"/opt/sluice", "serve", "/models/m.gguf", "--max-num-seqs", "4"}));
  EXPECT_TRUE(spec->takes_socket);
  ASSERT_TRUE(spec->startup && spec->readiness && spec->liveness);
  EXPECT_EQ(spec->startup->path, "/ready");
  auto values = environment(*spec);
  EXPECT_EQ(values["SLUICE_HOST"], "127.0.0.1");
  EXPECT_EQ(values["SLUICE_SERVED_MODEL_NAME"], "story");
  EXPECT_EQ(values["SLUICE_INTERNAL_TOKEN"], place_.secrets.internal_token);
  EXPECT_EQ(values["SLUICE_API_KEY"], place_.secrets.api_key);
  EXPECT_EQ(values["SLUICE_SHUTDOWN_TIMEOUT"], "29");
  const auto port = made(R"({"command":["sluice","serve","m","--port=1"]})");
  ASSERT_FALSE(port.has_value());
  EXPECT_TRUE(port.error().message().contains("--port"));
}

TEST(DeploymentSecrets, DifferByNameAndPurposeAndLastOverRestarts) {
  const auto a = deployment_secrets("master", "ns", "r");
  EXPECT_EQ(a.api_key, deployment_secrets("master", "ns", "r").api_key);
  EXPECT_NE(a.api_key, a.internal_token);
  EXPECT_NE(a.api_key, deployment_secrets("master", "ns", "q").api_key);
  EXPECT_NE(a.api_key, deployment_secrets("other", "ns", "r").api_key);
  EXPECT_EQ(a.api_key.size(), 64u);
}

TEST_F(ReplicaTemplateTest, TheTokenOfTheServiceAccount) {
  add("ServiceAccount", "sa", R"({"secrets":[{"name":"gone"},{"name":"empty"},{"name":"hub"}]})");
  add("Secret", "empty", R"({"data":{}})");
  add("Secret", "hub", R"({"data":{"HF_TOKEN":"aGZfeA=="}})");
  EXPECT_EQ(storage_token({{"serviceAccountName", "sa"}}, place_.find), "hf_x");
  EXPECT_EQ(storage_token({{"serviceAccountName", "nobody"}}, place_.find), "");
  EXPECT_EQ(storage_token({}, place_.find), "");
}

}  // namespace
}  // namespace sluice::platform
