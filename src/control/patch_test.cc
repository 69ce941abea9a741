#include "control/patch.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "control/managed_fields.h"
#include "control/test_support.h"

namespace sluice::control {
namespace {

struct Case {
  std::string target;
  std::string patch;
  std::string result;  // empty: refused
};

TEST(JsonPatch, DoesWhatRfc6902Says) {
  const std::vector<Case> cases = {
      {R"({"foo":"bar"})", R"([{"op":"add","path":"/baz","value":"qux"}])",
       R"({"foo":"bar","baz":"qux"})"},
      {R"({"foo":["bar","baz"]})", R"([{"op":"add","path":"/foo/1","value":"qux"}])",
       R"({"foo":["bar","qux","baz"]})"},
      {R"({"baz":"qux","foo":"bar"})", R"([{"op":"remove","path":"/baz"}])", R"({"foo":"bar"})"},
      {R"({"foo":["bar","qux","baz"]})", R"([{"op":"remove","path":"/foo/1"}])",
       R"({"foo":["bar","baz"]})"},
      {R"({"a":1})", R"([{"op":"replace","path":"/a","value":2}])", R"({"a":2})"},
      {R"({"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}})",
       R"([{"op":"move","from":"/foo/waldo","path":"/qux/thud"}])",
       R"({"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}})"},
      {R"({"baz":"qux","foo":["a",2,"c"]})",
       R"([{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2.0}])",
       R"({"baz":"qux","foo":["a",2,"c"]})"},
      {R"({"foo":["bar"]})", R"([{"op":"add","path":"/foo/-","value":["abc"]}])",
       R"({"foo":["bar",["abc"]]})"},
      {R"({"/":9,"~1":10})", R"([{"op":"test","path":"/~01","value":10}])", R"({"/":9,"~1":10})"},
      {R"({"a":1})", R"([{"op":"copy","from":"","path":"/b"}])", R"({"a":1,"b":{"a":1}})"},
      {R"({"baz":"qux"})", R"([{"op":"test","path":"/baz","value":"bar"}])", ""},
      {R"({"foo":"bar"})", R"([{"op":"add","path":"/baz/bat","value":"qux"}])", ""},
      {R"({"a":[1]})", R"([{"op":"add","path":"/a/2","value":2}])", ""},
      {R"({"a":[1]})", R"([{"op":"remove","path":"/a/01"}])", ""},
      {R"({"a":{"b":1}})", R"([{"op":"move","from":"/a","path":"/a/b"}])", ""},
      {R"({"a":1})", R"([{"op":"replace","path":"/b","value":2}])", ""},
      {R"({"a":1})", R"([{"op":"frobnicate","path":"/a"}])", ""},
      {R"({"a":1})", R"({"op":"remove","path":"/a"})", ""},
  };
  for (const Case& each : cases) {
    json::value target = parsed(each.target);
    const ApiOutcome done = apply_json_patch(target, parsed(each.patch));
    EXPECT_EQ(done.has_value(), !each.result.empty()) << each.patch;
    if (done) {
      EXPECT_TRUE(same_json(target, parsed(each.result))) << json::serialize(target);
    }
  }
}

TEST(JsonPatch, CopiesDoNotExplode) {
  json::value target = parsed(R"({"a":")" + std::string(400'000, 'x') + R"("})");
  json::array operations;
  for (int i = 0; i < 60; ++i) {
    operations.push_back(
        json::object{{"op", "copy"}, {"from", ""}, {"path", "/b" + std::to_string(i)}});
  }
  EXPECT_FALSE(apply_json_patch(target, operations).has_value());
}

TEST(MergePatch, DoesWhatRfc7386Says) {
  const std::vector<Case> cases = {
      {R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
      {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
      {R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
      {R"(["a","b"])", R"(["c","d"])", R"(["c","d"])"},
      {R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"},
      {R"([1,2])", R"({"a":"b","c":null})", R"({"a":"b"})"},
      {R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"},
  };
  for (const Case& each : cases) {
    json::value target = parsed(each.target);
    apply_merge_patch(target, parsed(each.patch));
    EXPECT_TRUE(same_json(target, parsed(each.result))) << json::serialize(target);
  }
}

TEST(StrategicPatch, MergesListsByTheirKeys) {
  const Schema& schema = *find_kind("v1", "ServiceAccount")->schema;
  const std::vector<Case> cases = {
      {R"({"secrets":[{"name":"a"},{"name":"b"}]})", R"({"secrets":[{"name":"c"}]})",
       R"({"secrets":[{"name":"a"},{"name":"b"},{"name":"c"}]})"},
      {R"({"secrets":[{"name":"a"},{"name":"b"}]})",
       R"({"secrets":[{"name":"a","$patch":"delete"}]})", R"({"secrets":[{"name":"b"}]})"},
      {R"({"secrets":[{"name":"a"},{"name":"b"}]})",
       R"({"secrets":[{"$patch":"replace"},{"name":"z"}]})", R"({"secrets":[{"name":"z"}]})"},
      {R"({"secrets":[{"name":"a","uid":"1"}]})", R"({"secrets":[{"name":"a","kind":"S"}]})",
       R"({"secrets":[{"name":"a","uid":"1","kind":"S"}]})"},
      {R"({"secrets":[{"name":"a"},{"name":"b"}]})",
       R"({"$setElementOrder/secrets":[{"name":"b"},{"name":"a"}]})",
       R"({"secrets":[{"name":"b"},{"name":"a"}]})"},
      {R"({"metadata":{"finalizers":["x/a","x/b"]}})",
       R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["x/a"],"finalizers":["x/c"]}})",
       R"({"metadata":{"finalizers":["x/b","x/c"]}})"},
      {R"({"imagePullSecrets":[{"name":"a"}]})", R"({"imagePullSecrets":[{"name":"b"}]})",
       R"({"imagePullSecrets":[{"name":"b"}]})"},
      {R"({"metadata":{"labels":{"a":"1","b":"2"}}})",
       R"({"metadata":{"labels":{"a":null,"$patch":"merge"}}})",
       R"({"metadata":{"labels":{"b":"2"}}})"},
      {R"({"metadata":{"labels":{"a":"1"}}})",
       R"({"metadata":{"labels":{"$patch":"replace",)"
       R"("c":"3"}}})",
       R"({"metadata":{"labels":{"c":"3"}}})"},
      {R"({"metadata":{"labels":{"a":"1","b":"2"}}})",
       R"({"metadata":{"labels":{"$retainKeys":["a"]}}})", R"({"metadata":{"labels":{"a":"1"}}})"},
      {R"({"secrets":[{"name":"a"}]})", R"({"secrets":[{"uid":"1"}]})", ""},
  };
  for (const Case& each : cases) {
    json::object target = parsed_object(each.target);
    const ApiOutcome done = apply_strategic_patch(schema, target, parsed_object(each.patch));
    EXPECT_EQ(done.has_value(), !each.result.empty()) << each.patch;
    if (done) {
      EXPECT_TRUE(same_json(json::value(target), parsed(each.result)))
          << each.patch << " → " << json::serialize(target);
    }
  }
}

// Server-side apply on the schema of InferenceService.
class ApplyTest : public testing::Test {
 protected:
  static Manager who(const std::string& name, Operation operation = Operation::kApply) {
    return {.name = name,
            .operation = operation,
            .api_version = "serving.kserve.io/v1beta1",
            .subresource = {},
            .time = "2027-01-01T00:00:00Z",
            .fields = {}};
  }
  ApiOutcome apply(const std::string& name, std::string_view config, bool force = false) {
    auto applied =
        apply_config(schema_, object_, managers_, parsed_object(config), who(name), force);
    if (!applied) return std::unexpected(applied.error());
    object_ = std::move(applied->object);
    managers_ = std::move(applied->managers);
    return {};
  }
  void update(const std::string& name, std::string_view after) {
    const json::object next = parsed_object(after);
    note_update(schema_, object_, next, who(name, Operation::kUpdate), managers_);
    object_ = next;
  }
  std::string text() const { return json::serialize(object_); }
  const Manager* manager(const std::string& name) const {
    for (const Manager& each : managers_) {
      if (each.name == name) return &each;
    }
    return nullptr;
  }

  const Schema& schema_ = *services().schema;
  json::object object_;
  std::vector<Manager> managers_;
};

TEST_F(ApplyTest, OwnsWhatItStatesAndRemovesWhatItNoLongerStates) {
  ASSERT_TRUE(apply("a", R"({"spec":{"predictor":{"minReplicas":1,"maxReplicas":2}}})"));
  EXPECT_EQ(json::serialize(manager("a")->fields.to_json()),
            R"({"f:spec":{"f:predictor":{"f:maxReplicas":{},"f:minReplicas":{}}}})");
  ASSERT_TRUE(apply("a", R"({"spec":{"predictor":{"minReplicas":1}}})"));
  EXPECT_EQ(text(), R"({"spec":{"predictor":{"minReplicas":1}}})");
}

TEST_F(ApplyTest, KeepsWhatAnotherManagerAlsoStates) {
  ASSERT_TRUE(apply("a", R"({"spec":{"predictor":{"minReplicas":1,"maxReplicas":2}}})"));
  ASSERT_TRUE(apply("b", R"({"spec":{"predictor":{"maxReplicas":2}}})"));
  ASSERT_TRUE(apply("a", R"({"spec":{"predictor":{"minReplicas":1}}})"));
  EXPECT_EQ(text(), R"({"spec":{"predictor":{"minReplicas":1,"maxReplicas":2}}})");
  ASSERT_TRUE(apply("b", R"({"spec":{}})"));
  EXPECT_EQ(text(), R"({"spec":{"predictor":{"minReplicas":1}}})");
}

TEST_F(ApplyTest, AConflictNamesFieldAndManagerAndForceTakesTheField) {
  ASSERT_TRUE(apply("a", R"({"spec":{"predictor":{"minReplicas":1}}})"));
  const ApiOutcome done = apply("b", R"({"spec":{"predictor":{"minReplicas":2}}})");
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code, 409);
  EXPECT_EQ(done.error().message,
            "Apply failed with 1 conflict: conflict with \"a\": .spec.predictor.minReplicas");
  ASSERT_EQ(done.error().causes.size(), 1u);
  EXPECT_EQ(done.error().causes[0].reason, "FieldManagerConflict");
  EXPECT_EQ(done.error().causes[0].field, ".spec.predictor.minReplicas");
  ASSERT_TRUE(apply("b", R"({"spec":{"predictor":{"minReplicas":2}}})", true));
  EXPECT_EQ(manager("a"), nullptr);
  EXPECT_EQ(text(), R"({"spec":{"predictor":{"minReplicas":2}}})");
}

TEST_F(ApplyTest, AnUpdateTakesFieldsAndAnApplyThenConflictsWithIt) {
  ASSERT_TRUE(apply("a", R"({"spec":{"predictor":{"minReplicas":1,"maxReplicas":2}}})"));
  update("scaler", R"({"spec":{"predictor":{"minReplicas":3,"maxReplicas":2}}})");
  EXPECT_EQ(json::serialize(manager("a")->fields.to_json()),
            R"({"f:spec":{"f:predictor":{"f:maxReplicas":{}}}})");
  const ApiOutcome done = apply("a", R"({"spec":{"predictor":{"minReplicas":1,"maxReplicas":2}}})");
  ASSERT_FALSE(done.has_value());
  EXPECT_TRUE(done.error().message.contains(
      R"(conflict with "scaler" using serving.kserve.io/v1beta1: .spec.predictor.minReplicas)"));
  // Leaving the field out leaves it to the scaler.
  ASSERT_TRUE(apply("a", R"({"spec":{"predictor":{"maxReplicas":2}}})"));
  EXPECT_EQ(text(), R"({"spec":{"predictor":{"minReplicas":3,"maxReplicas":2}}})");
}

TEST_F(ApplyTest, ListsMergeByTheirKeys) {
  const std::string a = R"({"spec":{"predictor":{"model":{"env":[{"name":"A","value":"1"}]}}}})";
  const std::string b = R"({"spec":{"predictor":{"model":{"env":[{"name":"B","value":"2"}]}}}})";
  ASSERT_TRUE(apply("a", a));
  ASSERT_TRUE(apply("b", b));
  EXPECT_EQ(text(), R"({"spec":{"predictor":{"model":{"env":[{"name":"A","value":"1"},)"
                    R"({"name":"B","value":"2"}]}}}})");
  EXPECT_EQ(json::serialize(manager("b")->fields.to_json()),
            R"({"f:spec":{"f:predictor":{"f:model":{"f:env":{"k:{\"name\":\"B\"}":)"
            R"({".":{},"f:name":{},"f:value":{}}}}}}})");
  const ApiOutcome done =
      apply("b", R"({"spec":{"predictor":{"model":{"env":[{"name":"A","value":"9"}]}}}})");
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().causes[0].field, R"(.spec.predictor.model.env[{"name":"A"}].value)");
  ASSERT_TRUE(apply("a", R"({"spec":{"predictor":{"model":{}}}})"));
  EXPECT_EQ(text(), R"({"spec":{"predictor":{"model":{"env":[{"name":"B","value":"2"}]}}}})");
}

TEST_F(ApplyTest, AtomicListsAreOneField) {
  ASSERT_TRUE(apply("a", R"({"spec":{"predictor":{"model":{"args":["x","y"]}}}})"));
  const ApiOutcome done = apply("b", R"({"spec":{"predictor":{"model":{"args":["x"]}}}})");
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().causes[0].field, ".spec.predictor.model.args");
}

TEST_F(ApplyTest, ManagedFieldsSurviveTheirWrittenForm) {
  ASSERT_TRUE(apply("a", R"({"metadata":{"labels":{"x":"y"},"finalizers":["s/f"]},)"
                         R"("spec":{"predictor":{"minReplicas":1}}})"));
  write_managers(object_, managers_);
  const auto again = read_managers(object_);
  ASSERT_TRUE(again.has_value());
  ASSERT_EQ(again->size(), 1u);
  EXPECT_EQ((*again)[0].fields, managers_[0].fields);
  EXPECT_EQ(json::serialize((*again)[0].fields.to_json()),
            R"({"f:metadata":{"f:finalizers":{"v:\"s/f\"":{}},"f:labels":{"f:x":{}}},)"
            R"("f:spec":{"f:predictor":{"f:minReplicas":{}}}})");
}

TEST_F(ApplyTest, AWantedEmptyObjectStays) {
  ASSERT_TRUE(apply("a", R"({"metadata":{"labels":{"x":"y"}}})"));
  ASSERT_TRUE(apply("a", R"({"metadata":{"labels":{}}})"));
  EXPECT_EQ(text(), R"({"metadata":{"labels":{}}})");
  ASSERT_TRUE(apply("a", R"({"metadata":{"labels":{}}})"));
  EXPECT_EQ(text(), R"({"metadata":{"labels":{}}})");
}

}  // namespace
}  // namespace sluice::control
