#include "control/schema.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "control/api_request.h"
#include "control/openapi.h"
#include "control/protobuf_body.h"
#include "control/scalars.h"
#include "control/schema_check.h"
#include "control/test_support.h"

namespace sluice::control {
namespace {

SchemaReport checked(json::object& object, const ResourceType& type = services()) {
  SchemaReport report;
  prune(*type.schema, object, report);
  fill_defaults(*type.schema, object);
  check(*type.schema, object, report);
  return report;
}

std::string causes_text(const SchemaReport& report) {
  std::string text;
  for (const Cause& cause : report.causes) text += cause_text(cause) + "\n";
  return text;
}

TEST(SchemaCheck, TakesAServiceAndNamesWhatHasNoEffect) {
  json::object object = service("a", R"("minReplicas":1,"nodeSelector":{"disk":"ssd"})");
  const SchemaReport report = checked(object);
  EXPECT_TRUE(report.causes.empty()) << causes_text(report);
  EXPECT_TRUE(report.unknown.empty());
  ASSERT_EQ(report.ignored.size(), 1u);
  EXPECT_TRUE(report.ignored[0].starts_with("spec.predictor.nodeSelector has no effect: "));
}

TEST(SchemaCheck, PrunesUnknownFieldsAndNulls) {
  json::object object = service("a", R"("minReplicas":null,"foo":1)");
  object["bar"] = 1;
  const SchemaReport report = checked(object);
  EXPECT_EQ(report.unknown, (std::vector<std::string>{"spec.predictor.foo", "bar"}));
  EXPECT_EQ(find_path(object, "spec.predictor.minReplicas"), nullptr);
  EXPECT_EQ(find_path(object, "spec.predictor.foo"), nullptr);
}

struct Wrong {
  std::string predictor;
  std::string field;
  std::string reason;
};

TEST(SchemaCheck, NamesTheFieldOfAWrongValue) {
  const std::vector<Wrong> cases = {
      {R"("minReplicas":"x")", "spec.predictor.minReplicas", "FieldValueTypeInvalid"},
      {R"("minReplicas":-1)", "spec.predictor.minReplicas", "FieldValueInvalid"},
      {R"("minReplicas":1.5)", "spec.predictor.minReplicas", "FieldValueTypeInvalid"},
      {R"("minReplicas":99999999999)", "spec.predictor.minReplicas", "FieldValueInvalid"},
      {R"("scaleMetric":"foo")", "spec.predictor.scaleMetric", "FieldValueNotSupported"},
      {R"("sklearn":{})", "spec.predictor.sklearn", "FieldValueForbidden"},
      {R"("containers":[{"name":"a"},{"name":"a"}])", "spec.predictor.containers[1]",
       "FieldValueDuplicate"},
      {R"("containers":[{"env":[{"value":"x"}]}])", "spec.predictor.containers[0].env[0].name",
       "FieldValueRequired"},
      {R"("containers":[{"resources":{"limits":{"memory":"4Gig"}}}])",
       "spec.predictor.containers[0].resources.limits.memory", "FieldValueInvalid"},
      {R"("labels":[])", "spec.predictor.labels", "FieldValueTypeInvalid"},
  };
  for (const Wrong& wrong : cases) {
    json::object object = service("a", wrong.predictor);
    const SchemaReport report = checked(object);
    ASSERT_EQ(report.causes.size(), 1u) << wrong.predictor << causes_text(report);
    EXPECT_EQ(report.causes[0].field, wrong.field);
    EXPECT_EQ(report.causes[0].reason, wrong.reason) << wrong.predictor;
  }
}

TEST(SchemaCheck, FillsDefaults) {
  json::object secret = parsed_object(R"({"data":{"a":"Yg=="}})");
  EXPECT_TRUE(checked(secret, *find_kind("v1", "Secret")).causes.empty());
  EXPECT_EQ(text_at(secret, "type"), "Opaque");
}

TEST(Scalars, Quantities) {
  EXPECT_EQ(parse_quantity("500m"), 0.5);
  EXPECT_EQ(parse_quantity("2"), 2);
  EXPECT_EQ(parse_quantity("4Gi"), 4294967296.0);
  EXPECT_EQ(parse_quantity("1e3"), 1000);
  EXPECT_EQ(parse_quantity("1E"), 1e18);
  EXPECT_EQ(parse_quantity("-1.5k"), -1500);
  for (const char* bad : {"", "x", "4GB", "1.2.3", "Gi", "1 Gi", "e3"}) {
    EXPECT_FALSE(parse_quantity(bad)) << bad;
  }
}

TEST(Scalars, Times) {
  EXPECT_EQ(parse_time("1970-01-01T00:01:00Z"), 60);
  EXPECT_EQ(parse_time("1970-01-01T01:00:00.5+01:00"), 0.5);
  EXPECT_EQ(time_text(1.7e9), "2023-11-14T22:13:20Z");
  for (const char* bad : {"", "2027-01-31", "2027-13-01T00:00:00Z", "2027-01-31T00:00:00"}) {
    EXPECT_FALSE(parse_time(bad)) << bad;
  }
}

TEST(Scalars, Names) {
  EXPECT_EQ(name_problem("my-model.v2"), "");
  for (const char* bad : {"", "A", "a_b", "-a", "a-", "a..b", "a/b"}) {
    EXPECT_NE(name_problem(bad), "") << bad;
  }
  EXPECT_EQ(label_key_problem("app.kubernetes.io/name"), "");
  EXPECT_NE(label_key_problem("/name"), "");
  EXPECT_NE(host_name_problem("1a"), "");
}

TEST(Scalars, Ages) {
  EXPECT_EQ(age_text(5), "5s");
  EXPECT_EQ(age_text(119), "119s");
  EXPECT_EQ(age_text(150), "2m30s");
  EXPECT_EQ(age_text(3600 * 5), "5h");
  EXPECT_EQ(age_text(86400 * 3 + 3600), "3d1h");
}

TEST(Scalars, Base64) {
  for (const std::string text : {"", "a", "ab", "abc", "\xff\x00\x10\x80"}) {
    EXPECT_EQ(base64_decode(base64_encode(text)), text);
    EXPECT_EQ(base64url_decode(base64url_encode(text)), text);
  }
  EXPECT_EQ(base64_encode("value"), "dmFsdWU=");
  EXPECT_FALSE(base64_decode("dmFsdWU"));
  EXPECT_FALSE(base64_decode("####"));
}

TEST(OpenApi, EveryReferenceLeadsSomewhere) {
  const std::string& text = openapi_v2_text();
  const json::object& definitions = *object_at(openapi_v2(), "definitions");
  size_t references = 0;
  for (size_t at = 0; (at = text.find("#/definitions/", at)) != std::string::npos; ++references) {
    at += 14;
    EXPECT_TRUE(definitions.contains(text.substr(at, text.find('"', at) - at)));
  }
  EXPECT_GT(references, 100u);
  EXPECT_NE(openapi_v3("apis/serving.kserve.io/v1beta1"), nullptr);
  EXPECT_EQ(openapi_v3("apis/none/v1"), nullptr);
}

TEST(OpenApi, PatchesOfEveryKindAllowDryRun) {
  const auto document = parsed(*openapi_v3("apis/serving.kserve.io/v1beta1"));
  const auto* paths = object_at(document.get_object(), "paths");
  const json::value* item = find_member(
      *paths, "/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices/{name}");
  ASSERT_NE(item, nullptr);
  const auto* patch = object_at(item->get_object(), "patch");
  ASSERT_NE(patch, nullptr);
  EXPECT_EQ(text_at(*patch, "x-kubernetes-group-version-kind.kind"), "InferenceService");
  const std::string parameters = json::serialize(*find_path(*patch, "parameters"));
  EXPECT_TRUE(parameters.contains(R"("name":"dryRun")"));
  EXPECT_TRUE(parameters.contains(R"("name":"fieldValidation")"));
}

// The fields of a protocol buffer message by number, without knowing its type.
std::multimap<uint32_t, std::string> fields_of_message(std::string_view in) {
  std::multimap<uint32_t, std::string> out;
  const auto varint = [&] {
    uint64_t value = 0;
    for (unsigned shift = 0; !in.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(in.front());
      in.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) break;
    }
    return value;
  };
  while (!in.empty()) {
    const uint64_t key = varint();
    size_t length = 8;
    if ((key & 7) == 0) {
      out.emplace(key >> 3, std::to_string(varint()));
      continue;
    }
    if ((key & 7) == 2) length = varint();
    out.emplace(key >> 3, in.substr(0, length));
    in.remove_prefix(std::min(length, in.size()));
  }
  return out;
}

TEST(OpenApi, GnosticHoldsEveryDefinitionAndPath) {
  const auto document = fields_of_message(openapi_v2_protobuf());
  EXPECT_EQ(document.find(1)->second, "2.0");
  const auto definitions = fields_of_message(document.find(9)->second);
  EXPECT_EQ(definitions.count(1), object_at(openapi_v2(), "definitions")->size());
  const auto paths = fields_of_message(document.find(8)->second);
  EXPECT_EQ(paths.count(2), object_at(openapi_v2(), "paths")->size());
  for (auto [at, end] = definitions.equal_range(1); at != end; ++at) {
    const auto named = fields_of_message(at->second);
    if (named.find(1)->second != "dev.sluice.ModelFormat") continue;
    const auto schema = fields_of_message(named.find(2)->second);
    EXPECT_EQ(schema.find(4)->second, "Format of a model.");
    EXPECT_EQ(schema.find(19)->second, "name");
    return;
  }
  FAIL() << "ModelFormat is not there";
}

TEST(Bodies, YamlReadsScalarsAsKubernetesDoes) {
  const auto value = parse_yaml_body("{a: 1, b: '1', c: true, d: 1.5, e: null, f: 0x1, g: [x]}");
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(json::serialize(*value),
            R"({"a":1,"b":"1","c":true,"d":1.5E0,"e":null,"f":"0x1","g":["x"]})");
  EXPECT_FALSE(parse_yaml_body("a: \"\\xed\": b").has_value());
}

TEST(Bodies, ProtobufSecret) {
  const std::string bytes(
      "k8s\0\n\x0c\n\x02v1\x12\x06Secret\x12\x1b\n\x09\n\x01s\x1a\x02ns*\x00\x12\x06\n\x01k\x12"
      "\x01v\x1a\x06Opaque",
      47);
  const auto value = parse_protobuf_body(bytes);
  ASSERT_TRUE(value.has_value()) << value.error().message;
  EXPECT_EQ(json::serialize(*value),
            R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"ns"},)"
            R"("data":{"k":"dg=="},"type":"Opaque"})");
  EXPECT_EQ(parse_protobuf_body(bytes.substr(0, 40)).error().code, 400);
  EXPECT_EQ(parse_protobuf_body("{}").error().code, 400);
}

TEST(Paths, AreTakenApart) {
  const auto path =
      parse_api_path("/apis/serving.kserve.io/v1beta1/namespaces/a/inferenceservices/b/status");
  ASSERT_TRUE(path.has_value());
  EXPECT_EQ(path->type, &services());
  EXPECT_EQ(path->ns, "a");
  EXPECT_EQ(path->name, "b");
  EXPECT_EQ(path->subresource, "status");
  EXPECT_EQ(parse_api_path("/api/v1/namespaces/a")->name, "a");
  EXPECT_EQ(parse_api_path("/api/v1/namespaces/a/status")->subresource, "status");
  EXPECT_EQ(parse_api_path("/api/v1/namespaces/a/configmaps")->type, &config_maps());
  EXPECT_FALSE(parse_api_path("/api/v1/pods").has_value());
  EXPECT_FALSE(parse_api_path("/api/v1/namespaces/a/configmaps/b/c/d").has_value());
}

}  // namespace
}  // namespace sluice::control
