// What the tests of this room share: a store in memory, manifests, short ways to call.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "control/json_util.h"
#include "control/object_store.h"
#include "control/objects.h"
#include "control/resource_types.h"

namespace sluice::control {

inline json::value parsed(std::string_view text) {
  auto value = parse_json(text);
  EXPECT_TRUE(value.has_value()) << text;
  return value ? *value : json::value();
}
inline json::object parsed_object(std::string_view text) { return parsed(text).as_object(); }

inline const ResourceType& services() {
  return *find_kind("serving.kserve.io/v1beta1", "InferenceService");
}
inline const ResourceType& graphs() {
  return *find_kind("serving.kserve.io/v1alpha1", "InferenceGraph");
}
inline const ResourceType& config_maps() { return *find_kind("v1", "ConfigMap"); }
inline const ResourceType& namespaces() { return *find_kind("v1", "Namespace"); }

// A small InferenceService; `predictor` is put into its predictor.
inline json::object service(std::string_view name,
                            std::string_view predictor = R"("minReplicas":1)") {
  return parsed_object(std::string(R"({"apiVersion":"serving.kserve.io/v1beta1",)"
                                   R"("kind":"InferenceService","metadata":{"name":")") +
                       std::string(name) + R"("},"spec":{"predictor":{"model":{"modelFormat":)" +
                       R"({"name":"gguf"},"storageUri":"hf://owner/model"},)" +
                       std::string(predictor) + "}}}");
}
inline json::object config_map(std::string_view name) {
  return parsed_object(R"({"metadata":{"name":")" + std::string(name) + R"("},"data":{"a":"b"}})");
}

inline WriteOptions as(Role role, std::string manager = "test") {
  return {.who = {"tester", role}, .manager = std::move(manager)};
}

// Objects over a store in memory, with a clock turned by hand.
class ObjectsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto store = ObjectStore::open_in_memory(limits_);
    ASSERT_TRUE(store.has_value());
    store_ = *std::move(store);
    objects_ = std::make_unique<Objects>(*store_, AdmissionPolicy{}, clock_);
    ASSERT_TRUE(objects_->bootstrap().has_value());
  }

  Written must_create(const ResourceType& type, json::object body,
                      std::string_view ns = "default") {
    auto written = objects_->create(type, ns, std::move(body), as(Role::kAdmin));
    EXPECT_TRUE(written.has_value()) << (written ? "" : written.error().message);
    return written ? *written : Written{};
  }
  ObjectPtr object(const ResourceType& type, std::string_view name,
                   std::string_view ns = "default") const {
    return store_->get({&type, std::string(ns), std::string(name)});
  }

  StoreLimits limits_;
  ManualClock clock_;
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<Objects> objects_;
};

}  // namespace sluice::control
