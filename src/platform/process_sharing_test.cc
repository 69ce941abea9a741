// Who shares a process with whom, and what that process is.
#include "platform/process_sharing.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "control/json_util.h"
#include "platform/parts_test_support.h"
#include "platform/replica_template.h"
#include "platform/revision_spec.h"
#include "platform/runtime_choice.h"
#include "platform/views.h"

namespace sluice::platform {
namespace {

using control::ObjectPtr;
using control::text_at;

constexpr std::string_view kLimits = R"("resources":{"limits":{"memory":"1Gi"}})";

// Of a service whose predictor's model has these fields, over the runtime that is always there.
json::object spec_of_model(std::string_view name, std::string_view model) {
  const json::object runtime = built_in_runtime();
  const ObjectPtr service = service_object("default", name, R"({"predictor":{}})");
  const json::object component =
      parsed(R"({"model":{"modelFormat":{"name":"gguf"},"storageUri":"file:///m.gguf",)" +
             std::string(model) + "}}");
  auto spec =
      revision_spec({.service = service->body, .component = component, .runtime = &runtime});
  EXPECT_TRUE(spec.has_value());
  return spec ? *spec : json::object();
}

json::object template_of_model(std::string_view name, std::string_view model,
                               std::string_view service_spec = "{}") {
  const auto made = shared_template(parsed(service_spec), spec_of_model(name, model));
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().message());
  return made ? *made : json::object();
}

std::string problem(std::string_view model, std::string_view service_spec = "{}") {
  const auto made = shared_template(parsed(service_spec), spec_of_model("a", model));
  if (made) return "none";
  EXPECT_EQ(made.error().reason(), "NotShareable");
  return made.error().message();
}

ObjectPtr claiming(std::string_view name, std::string_view made, std::string_view claims) {
  json::object body{{"metadata", json::object{{"creationTimestamp", made}}}};
  body["status"] = parsed(R"({"sluice":{"shares":)" + std::string(claims) + "}}");
  return object_of("serving.kserve.io/v1beta1", "InferenceService", "default", name,
                   std::move(body));
}

TEST(ProcessSharing, TheProcessIsEqualButForTheModel) {
  const json::object a = template_of_model("a", kLimits);
  const json::object b = template_of_model("b", kLimits);
  EXPECT_EQ(process_key(a), process_key(b)) << "names are given with the models";
  EXPECT_EQ(json::serialize(a.at("container").at("args")),
            R"(["/mnt/models","--model-memory-bytes","805306368"])");
  EXPECT_EQ(json::serialize(a.at("container").at("env")), "[]");
  const std::string more = std::string(kLimits) + R"(,"args":["--max-num-seqs","8"])";
  const json::object c = template_of_model("c", more);
  EXPECT_NE(process_key(a), process_key(c));
  EXPECT_EQ(template_differences(a, c), std::vector<std::string>{"container.args"});
  const json::object held = template_of_model(
      "d", kLimits, R"({"predictor":{"scaleTarget":3},"sluice":{"wake":{"holdSeconds":9}}})");
  EXPECT_NE(process_key(a), process_key(held));
  EXPECT_EQ(template_differences(a, held),
            (std::vector<std::string>{"scaling.scaleTarget", "scaling.wake"}));
  EXPECT_EQ(process_key(a), process_key(template_of_model(
                                "a", kLimits, R"({"predictor":{"minReplicas":3,"timeout":9}})")));
}

TEST(ProcessSharing, TheBudgetMayBeGiven) {
  for (const std::string_view given :
       {R"("args":["--model-memory-bytes","2G"])", R"("args":["--model-memory-bytes=2G"])",
        R"("env":[{"name":"SLUICE_MODEL_MEMORY_BYTES","value":"2G"}])"}) {
    const json::object made = template_of_model("a", given);
    EXPECT_FALSE(json::serialize(made).contains("805306368")) << given;
    EXPECT_TRUE(json::serialize(made).contains("2G")) << given;
    EXPECT_EQ(model_budget(made), int64_t{2} << 30) << given;
  }
  EXPECT_TRUE(problem(R"("args":[])").contains("resources.limits.memory"));
  EXPECT_EQ(model_budget(template_of_model("a", kLimits)), 805306368);
  for (const std::string_view unknown :
       {R"("args":["--model-memory-bytes"])", R"x("args":["--model-memory-bytes","$(SIZE)"])x",
        R"("env":[{"name":"SLUICE_MODEL_MEMORY_BYTES","valueFrom":{"fieldRef":{}}}])"}) {
    EXPECT_EQ(model_budget(template_of_model("a", unknown)), std::nullopt) << unknown;
  }
}

TEST(ProcessSharing, WhatConcernsOneModelKeepsItsOwnProcess) {
  EXPECT_EQ(problem(kLimits), "none");
  EXPECT_TRUE(problem(kLimits, R"({"sluice":{"rollout":{}}})").contains("spec.sluice.rollout: "));
  EXPECT_TRUE(problem(kLimits, R"({"canary":[{}]})").contains("spec.canary: "));
  EXPECT_EQ(problem(kLimits, R"({"canary":[]})"), "none");
  EXPECT_TRUE(problem(kLimits, R"({"predictor":{"canaryTrafficPercent":1}})")
                  .contains("spec.predictor.canaryTrafficPercent: "));
  EXPECT_TRUE(problem(kLimits, R"({"transformer":{"containers":[{}]}})")
                  .contains("spec.transformer.containers: "));
  EXPECT_EQ(problem(kLimits, R"({"transformer":{"sluice":{"url":"http://x"}},"explainer":{}})"),
            "none")
      << "these are the gateway's";
  const std::string limits(kLimits);
  EXPECT_TRUE(problem(limits + R"(,"args":["--served-model-name","x"])")
                  .contains("--served-model-name is \"x\""));
  EXPECT_EQ(problem(limits + R"(,"args":["--served-model-name=a"])"), "none");
  EXPECT_TRUE(problem(limits + R"(,"args":["--served-model-name"])").contains("is \"\""));
  EXPECT_TRUE(problem(limits + R"(,"args":["--chat-template","/mnt/models/t"])")
                  .contains("/mnt/models/t names a file of one model"));
  EXPECT_TRUE(problem(limits + R"(,"args":["/mnt/models"])").contains("once"));
  EXPECT_TRUE(problem(limits + R"(,"args":["--model-repository","/x"])")
                  .contains("--model-repository names models of its own"));
  EXPECT_TRUE(problem(limits + R"(,"command":["vllm","serve"])").contains("no `sluice serve`"));
}

TEST(ProcessSharing, TheOldestThatStaysLeads) {
  const ObjectPtr a = claiming("a", "2026-01-02T00:00:00Z", R"([{"process":"p",
      "storageUri":"file:///a","leaving":true}])");
  const ObjectPtr b = claiming("b", "2026-01-03T00:00:00Z", R"([{"process":"p",
      "storageUri":"file:///b"}])");
  const ObjectPtr c = claiming("c", "2026-01-03T00:00:00Z", R"([{"process":"q",
      "storageUri":"file:///old"},{"process":"p","storageUri":"file:///c"}])");
  const ObjectPtr d = claiming("d", "2026-01-01T00:00:00Z", R"([{"process":"q",
      "storageUri":"file:///d"}])");
  const std::vector<ObjectPtr> all{d, c, b, a};
  const ProcessGroup group = process_group(all, "p", c, share_claims(*c));
  ASSERT_EQ(group.members.size(), 3u);
  EXPECT_EQ(group.leader()->name, "b") << "a leaves, and c's name comes later";
  const std::vector<SharedModel> models{{"a", "file:///a"}, {"b", "file:///b"}, {"c", "file:///c"}};
  EXPECT_EQ(group.models(), models);
  const ProcessGroup without = process_group(all, "p", b, {});
  EXPECT_EQ(without.leader()->name, "c");
  EXPECT_EQ(process_group({a}, "p", b, {}).leader(), nullptr);
  EXPECT_EQ(share_claims(*claiming("x", "", json::serialize(to_json(share_claims(*c))))),
            share_claims(*c));
}

TEST(ProcessSharing, ARevisionIsOfAGroupByItsModelsAndOwners) {
  const json::object shared = template_of_model("a", kLimits);
  const std::string key = process_key(shared);
  const std::string claim = R"([{"process":")" + key + R"(","storageUri":"file:///m.gguf"}])";
  const ObjectPtr a = claiming("a", "2026-01-02T00:00:00Z", claim);
  const ObjectPtr b = claiming("b", "2026-01-03T00:00:00Z", claim);
  const ProcessGroup both = process_group({a, b}, key, a, share_claims(*a));
  const ProcessGroup one = process_group({a}, key, a, share_claims(*a));
  const json::object spec = shared_revision_spec(shared, both, "a");
  EXPECT_EQ(process_of(spec), key);
  EXPECT_EQ(shared_uri(spec, "b"), "file:///m.gguf");
  EXPECT_EQ(shared_uri(spec, "c"), "");
  EXPECT_EQ(text_at(spec, "service"), "a");
  EXPECT_EQ(spec.if_contains("scaling"), nullptr);
  const auto revision = [&](const std::vector<ObjectPtr>& owners) {
    json::array list;
    for (const ObjectPtr& each : owners) list.push_back(owner_reference(*each));
    json::object body{{"metadata", json::object{{"ownerReferences", std::move(list)}}},
                      {"spec", spec}};
    return object_of("sluice.dev/v1alpha1", "Revision", "default", "a-predictor-00001",
                     std::move(body));
  };
  EXPECT_TRUE(is_of_group(*revision({b, a}), key, both));
  EXPECT_FALSE(is_of_group(*revision({b, a}), key, one));
  EXPECT_FALSE(is_of_group(*revision({a}), key, both)) << "another b of that name";
  EXPECT_FALSE(is_of_group(*revision({b, a}), "other", both));
}

TEST(ProcessSharing, TheModelsTakeTheirPlaceInTheCommand) {
  const json::object shared = template_of_model("a", kLimits);
  const ObjectPtr a =
      claiming("a", "2026-01-02T00:00:00Z", R"([{"process":"p","storageUri":"file:///m.gguf"}])");
  const json::object spec =
      shared_revision_spec(shared, process_group({a}, "p", a, share_claims(*a)), "a");
  const auto made = replica_template(spec, {.id = "i",
                                            .ns = "default",
                                            .models = {{"a", "/m/a.gguf"}, {"b", "/$(PORT)/b"}},
                                            .sluice_program = "/bin/sluice",
                                            .find = {}});
  ASSERT_TRUE(made.has_value()) << made.error().message();
  const std::vector<std::string> command{
      "/bin/sluice", "serve", "/m/a.gguf=a", "/$(PORT)/b=b", "--model-memory-bytes", "805306368"};
  EXPECT_EQ(made->command, command);
}

TEST(ProcessSharing, ARevisionGetsTheLargestOfWhatIsWanted) {
  RevisionWants wants{
      {"a", {.role = RevisionRole::kCandidate, .traffic = 0, .floor = 1, .ceiling = 3}},
      {"b", {.role = RevisionRole::kServing, .traffic = 100, .floor = 0, .ceiling = 2}},
      {"c", {.role = RevisionRole::kCandidate, .traffic = 40, .floor = 2, .ceiling = 1}}};
  const RevisionWant all{.role = RevisionRole::kServing, .traffic = 100, .floor = 2, .ceiling = 3};
  EXPECT_EQ(joined(wants), all);
  wants["c"].ceiling = 0;
  EXPECT_EQ(joined(wants).ceiling, 0) << "one has no limit";
  EXPECT_EQ(joined({}), RevisionWant{});
  const ObjectPtr revision = object_of("sluice.dev/v1alpha1", "Revision", "default", "r",
                                       {{"status", json::object{{"wants", to_json(wants)}}}});
  EXPECT_EQ(revision_wants(*revision), wants);
}

}  // namespace
}  // namespace sluice::platform
