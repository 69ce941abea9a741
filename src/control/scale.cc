#include "control/scale.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "control/json_util.h"

namespace sluice::control {
namespace {

constexpr int64_t kMaxReplicas = 1000;
// What a service has that says nothing.
constexpr int64_t kDefaultReplicas = 1;

// The object that holds the last step of the path, made where it is missing.
std::pair<json::object*, std::string_view> holder(json::object& root, std::string_view path) {
  json::object* at = &root;
  while (true) {
    const size_t dot = path.find('.');
    if (dot == std::string_view::npos) return {at, path};
    at = &object_of(*at, path.substr(0, dot));
    path.remove_prefix(dot + 1);
  }
}

}  // namespace

json::object scale_of(const ResourceType& type, const json::object& object) {
  json::object metadata;
  const auto* full = object_at(object, "metadata");
  for (const std::string_view key :
       {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"}) {
    const json::value* value = full == nullptr ? nullptr : full->if_contains(key);
    if (value != nullptr) metadata[key] = *value;
  }
  return {{"kind", "Scale"},
          {"apiVersion", "autoscaling/v1"},
          {"metadata", std::move(metadata)},
          {"spec", json::object{{"replicas",
                                 integer_at(object, type.scale.min).value_or(kDefaultReplicas)}}},
          {"status", json::object{{"replicas", integer_at(object, type.scale.replicas).value_or(0)},
                                  {"selector", fmt::format("serving.kserve.io/inferenceservice={}",
                                                           text_at(object, "metadata.name"))}}}};
}

ApiOutcome set_scale(const ResourceType& type, json::object& object, const json::object& scale) {
  const json::value* stated = find_path(scale, "spec.replicas");
  const int64_t wanted = stated == nullptr ? 0 : integer_at(scale, "spec.replicas").value_or(-1);
  if (wanted < 0 || wanted > kMaxReplicas) {
    return invalid_object(
        {"autoscaling", "scales", "Scale", std::string(text_at(object, "metadata.name"))},
        {{"FieldValueInvalid",
          fmt::format("{}: must be an integer from 0 to {}",
                      stated == nullptr ? "" : shown(*stated), kMaxReplicas),
          "spec.replicas"}});
  }
  const auto [low, min] = holder(object, type.scale.min);
  (*low)[min] = wanted;
  if (wanted > 0) {
    const auto [high, max] = holder(object, type.scale.max);
    (*high)[max] = wanted;
  }
  return {};
}

}  // namespace sluice::control
