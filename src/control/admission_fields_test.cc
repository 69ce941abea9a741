// Fields that nothing here honours are warned about or refused by name.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "control/admission.h"
#include "control/test_support.h"

namespace sluice::control {
namespace {

class FieldsTest : public ObjectsTest {
 protected:
  // Every warning, or the first complaint.
  std::string told(const ResourceType& type, json::object body) {
    WriteOptions dry = as(Role::kAdmin);
    dry.dry_run = true;
    const auto written =
        objects_->create(type, type.namespaced ? "default" : "", std::move(body), dry);
    if (!written) {
      return "refused: " + (written.error().causes.empty() ? written.error().message
                                                           : cause_text(written.error().causes[0]));
    }
    std::string text;
    for (const std::string& warning : written->warnings) text += warning + "\n";
    return text;
  }
  std::string of_predictor(std::string_view fields) {
    return told(services(), service("a", fields));
  }
  std::string of_spec(std::string_view fields) {
    json::object body = service("a");
    for (auto& [key, value] : parsed_object(fields)) object_of(body, "spec")[key] = value;
    return told(services(), std::move(body));
  }
};

TEST_F(FieldsTest, OfAnInferenceService) {
  EXPECT_EQ(of_predictor(R"("containerConcurrency":3,"timeout":5)"), "");
  EXPECT_TRUE(of_predictor(R"("logger":{"mode":"all"})")
                  .contains("spec.predictor.logger has no effect: it names no url"));
  EXPECT_EQ(of_predictor(R"("logger":{"mode":"all","url":"http://sink:8080"})"), "");
  EXPECT_TRUE(of_predictor(R"("logger":{"url":"s3://bucket/log"})")
                  .starts_with("refused: spec.predictor.logger.url: "));
  EXPECT_EQ(of_predictor(R"("batcher":{"maxBatchSize":3})"), "");
  EXPECT_TRUE(of_spec(R"({"transformer":{"sluice":{"url":"http://x"},"batcher":{}}})")
                  .contains("spec.transformer.batcher has no effect"));
  const std::string transformer = of_spec(
      R"({"transformer":{"sluice":{"url":"http://x"},"timeout":3,"canaryTrafficPercent":5}})");
  EXPECT_TRUE(transformer.contains("spec.transformer.timeout has no effect")) << transformer;
  EXPECT_TRUE(transformer.contains("spec.transformer.canaryTrafficPercent has no effect"));
}

TEST_F(FieldsTest, OfASharedProcess) {
  EXPECT_EQ(of_spec(R"({"sluice":{"shareProcess":true},"explainer":{}})"), "");
  for (const std::string beside :
       {R"("sluice":{"shareProcess":true,"rollout":{"strategy":"BlueGreen"}}|sluice.rollout)",
        R"("sluice":{"shareProcess":true},"canary":[{"trafficPercent":1,"predictor":{"name":"c",
        "model":{"modelFormat":{"name":"gguf"},"storageUri":"hf://o/m"}}}]|canary)",
        R"("sluice":{"shareProcess":true},"transformer":{"containers":[{"command":["x"]}]}|)"
        R"(transformer.containers)",
        R"("sluice":{"shareProcess":true},"predictor":{"containers":[{"command":["x"]}]}|)"
        R"(predictor.model)"}) {
    const size_t bar = beside.find('|');
    const std::string warnings = of_spec("{" + beside.substr(0, bar) + "}");
    EXPECT_TRUE(warnings.contains("spec.sluice.shareProcess has no effect")) << beside << warnings;
    EXPECT_TRUE(warnings.contains("spec." + beside.substr(bar + 1))) << beside << warnings;
  }
  EXPECT_FALSE(of_spec(R"({"sluice":{"rollout":{"strategy":"BlueGreen"}}})").contains("share"));
}

TEST_F(FieldsTest, LabelsOfReplicasAreLabels) {
  EXPECT_EQ(of_predictor(R"("labels":{"a":"b"},"annotations":{"x.io/y":"any thing"})"), "");
  EXPECT_TRUE(
      of_predictor(R"("labels":{"a":"no label"})").starts_with("refused: spec.predictor.labels: "));
  EXPECT_TRUE(of_predictor(R"("annotations":{"no key":"b"})")
                  .starts_with("refused: spec.predictor.annotations: "));
}

TEST_F(FieldsTest, OfARollout) {
  EXPECT_TRUE(of_spec(R"({"sluice":{"rollout":{"strategy":"Manual","steps":[{"weight":5}]}}})")
                  .contains("spec.sluice.rollout.steps has no effect with the strategy Manual"));
  const std::string recreate = of_spec(
      R"({"sluice":{"rollout":{"strategy":"Recreate","analysis":{},"autoRollback":false}}})");
  EXPECT_TRUE(recreate.contains("analysis has no effect with the strategy Recreate")) << recreate;
  EXPECT_FALSE(recreate.contains("autoRollback")) << recreate;
  json::object body = service("a", R"("canaryTrafficPercent":10)");
  object_of(body, "spec")["sluice"] = parsed(R"({"rollout":{"strategy":"Progressive"}})");
  EXPECT_TRUE(
      told(services(), std::move(body))
          .contains("spec.sluice.rollout has no effect while spec.predictor.canaryTraffic"));
}

TEST_F(FieldsTest, OfContainers) {
  const std::string devices = of_predictor(
      R"("containers":[{"name":"kserve-container","command":["x"],
          "resources":{"limits":{"cpu":"1","nvidia.com/gpu":"1"}}},{"name":"side",
      "command":["y"]}])");
  EXPECT_TRUE(devices.contains(
      "spec.predictor.containers[0].resources.limits.nvidia.com/gpu has no effect"))
      << devices;
  EXPECT_TRUE(
      devices.contains("spec.predictor.containers[1] is not run: a replica is one process"));
  EXPECT_TRUE(
      of_predictor(R"("containers":[{"name":"a","command":["x"]},{"name":"b","command":["y"]}])")
          .starts_with("refused: spec.predictor.containers: "));
  EXPECT_TRUE(
      of_predictor(
          R"("containers":[{"command":["x"],"livenessProbe":{"terminationGracePeriodSeconds":3}}])")
          .contains("livenessProbe.terminationGracePeriodSeconds has no effect"));
}

TEST_F(FieldsTest, OfAGraphAndAProvider) {
  EXPECT_TRUE(told(graphs(), parsed_object(R"({"metadata":{"name":"g"},"spec":{
      "serviceAccountName":"a","nodes":{"root":{"routerType":"Sequence",
      "steps":[{"serviceUrl":"http://x"}]}}}})"))
                  .contains("spec.serviceAccountName has no effect: graphs run in the gateway"));
  const ResourceType& providers = *find_kind("sluice.dev/v1alpha1", "Provider");
  const auto provider = [&](std::string_view more) {
    return told(providers, parsed_object(R"({"metadata":{"name":"p"},"spec":{"url":"https://x")" +
                                         std::string(more) + "}}"));
  };
  EXPECT_EQ(provider(R"(,"protocol":"openai")"), "");
  EXPECT_EQ(provider(R"(,"protocol":"anthropic")"), "");
  EXPECT_TRUE(provider(R"(,"protocol":"gemini")").starts_with("refused: spec.protocol: "));
  EXPECT_EQ(provider(R"(,"headers":[{"name":"x-team","value":"b"}])"), "");
  EXPECT_EQ(provider(R"(,"headers":[{"name":"a"}])"),
            "refused: spec.headers[0]: Invalid value: exactly one of value and secret");
  EXPECT_TRUE(provider(R"(,"headers":[{"name":"a","secret":{"secretName":"s","key":"k"}}])")
                  .contains("spec.headers[0].secret: there is no Secret"));
}

}  // namespace
}  // namespace sluice::control
