// What the tests of the pure parts share: objects out of JSON texts.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/json.h"
#include "control/object_store.h"
#include "control/resource_types.h"

namespace sluice::platform {

inline json::object parsed(std::string_view text) {
  auto value = parse_json(text);
  EXPECT_TRUE(value.has_value()) << text;
  return value && value->is_object() ? value->get_object() : json::object();
}

// An object of a kind; metadata is made of the names.
inline control::ObjectPtr object_of(std::string_view api_version, std::string_view kind,
                                    std::string_view ns, std::string_view name, json::object body) {
  body["apiVersion"] = api_version;
  body["kind"] = kind;
  json::value& metadata = body["metadata"];
  if (!metadata.is_object()) metadata = json::object();
  metadata.get_object()["name"] = name;
  if (!ns.empty()) metadata.get_object()["namespace"] = ns;
  metadata.get_object()["uid"] =
      std::string(ns) + "-" + std::string(kind) + "-" + std::string(name);
  return control::make_object(*control::find_kind(api_version, kind), std::move(body), 1);
}

inline control::ObjectPtr service_object(std::string_view ns, std::string_view name,
                                         std::string_view spec) {
  return object_of("serving.kserve.io/v1beta1", "InferenceService", ns, name,
                   {{"spec", parsed(spec)}});
}

inline control::ObjectPtr runtime_object(std::string_view ns, std::string_view name,
                                         std::string_view spec) {
  return object_of("serving.kserve.io/v1alpha1",
                   ns.empty() ? "ClusterServingRuntime" : "ServingRuntime", ns, name,
                   {{"spec", parsed(spec)}});
}

inline control::ObjectPtr sluice_object(std::string_view kind, std::string_view ns,
                                        std::string_view name, json::object spec) {
  return object_of("sluice.dev/v1alpha1", kind, ns, name, {{"spec", std::move(spec)}});
}

inline control::ObjectPtr core_object(std::string_view kind, std::string_view ns,
                                      std::string_view name, std::string_view body) {
  return object_of("v1", kind, ns, name, parsed(body));
}

}  // namespace sluice::platform
