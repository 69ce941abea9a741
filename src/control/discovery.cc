#include "control/discovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/build_info.h"
#include "control/resource_types.h"

namespace sluice::control {
namespace {

// The Kubernetes API that ours is shaped after.
constexpr std::string_view kMajor = "1";
constexpr std::string_view kMinor = "32";

json::array texts(const std::vector<std::string_view>& words) {
  json::array out;
  for (const std::string_view word : words) out.emplace_back(word);
  return out;
}

json::array verbs_of(const ResourceType& type) {
  if (type.refused) return {"create", "get", "list", "patch"};
  if (type.own_writes && !type.users_delete) return {"get", "list", "watch"};
  if (type.own_writes) return {"delete", "deletecollection", "get", "list", "watch"};
  return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
}

// Groups in the order of the table; the newest version of each first.
std::vector<std::pair<std::string_view, std::vector<std::string_view>>> groups() {
  std::vector<std::pair<std::string_view, std::vector<std::string_view>>> found;
  for (const ResourceType& type : resource_types()) {
    if (type.group.empty()) continue;
    auto group = std::ranges::find(found, type.group, [](const auto& each) { return each.first; });
    if (group == found.end()) group = found.insert(found.end(), {type.group, {}});
    if (std::ranges::find(group->second, type.version) == group->second.end()) {
      group->second.push_back(type.version);
    }
  }
  return found;
}

json::object group_page(std::string_view group, const std::vector<std::string_view>& versions) {
  json::array list;
  for (const std::string_view version : versions) {
    list.push_back(
        json::object{{"groupVersion", fmt::format("{}/{}", group, version)}, {"version", version}});
  }
  json::value preferred = list.front();
  return {{"name", group}, {"versions", std::move(list)}, {"preferredVersion", preferred}};
}

json::object resource(std::string name, const ResourceType& type, std::string_view kind,
                      json::array verbs) {
  return {{"name", std::move(name)},
          {"singularName", ""},
          {"namespaced", type.namespaced},
          {"kind", kind},
          {"verbs", std::move(verbs)}};
}

json::object subresource(std::string_view name, const ResourceType& type, bool scale) {
  json::object kind =
      scale ? json::object{{"group", "autoscaling"}, {"version", "v1"}, {"kind", "Scale"}}
            : json::object{{"group", type.group}, {"version", type.version}, {"kind", type.kind}};
  return {{"subresource", name},
          {"responseKind", std::move(kind)},
          {"verbs", json::array{"get", "patch", "update"}}};
}

json::object aggregated_resource(const ResourceType& type) {
  json::object out{
      {"resource", type.plural},
      {"responseKind",
       json::object{{"group", type.group}, {"version", type.version}, {"kind", type.kind}}},
      {"scope", type.namespaced ? "Namespaced" : "Cluster"},
      {"singularResource", type.singular},
      {"verbs", verbs_of(type)},
      {"shortNames", texts(type.short_names)},
      {"categories", texts(type.categories)}};
  json::array below;
  if (type.has_status) below.push_back(subresource("status", type, false));
  if (type.scalable()) below.push_back(subresource("scale", type, true));
  if (!below.empty()) out["subresources"] = std::move(below);
  return out;
}

json::object aggregated_group(std::string_view group,
                              const std::vector<std::string_view>& versions) {
  json::array list;
  for (const std::string_view version : versions) {
    json::array resources;
    for (const ResourceType& type : resource_types()) {
      if (type.group == group && type.version == version) {
        resources.push_back(aggregated_resource(type));
      }
    }
    list.push_back(json::object{
        {"version", version}, {"resources", std::move(resources)}, {"freshness", "Current"}});
  }
  json::object metadata;
  if (!group.empty()) metadata["name"] = group;
  return {{"metadata", std::move(metadata)}, {"versions", std::move(list)}};
}

}  // namespace

json::object api_versions() {
  return {{"kind", "APIVersions"},
          {"versions", json::array{"v1"}},
          {"serverAddressByClientCIDRs", json::array()}};
}

json::object api_groups() {
  json::array list;
  for (const auto& [group, versions] : groups()) list.push_back(group_page(group, versions));
  return {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(list)}};
}

json::object api_group(std::string_view wanted) {
  for (const auto& [group, versions] : groups()) {
    if (group != wanted) continue;
    json::object page = group_page(group, versions);
    page["kind"] = "APIGroup";
    page["apiVersion"] = "v1";
    return page;
  }
  return {};
}

json::object api_resources(std::string_view group, std::string_view version) {
  json::array list;
  for (const ResourceType& type : resource_types()) {
    if (type.group != group || type.version != version) continue;
    json::object entry = resource(std::string(type.plural), type, type.kind, verbs_of(type));
    entry["singularName"] = type.singular;
    if (!type.short_names.empty()) entry["shortNames"] = texts(type.short_names);
    if (!type.categories.empty()) entry["categories"] = texts(type.categories);
    list.push_back(std::move(entry));
    if (type.has_status) {
      list.push_back(resource(fmt::format("{}/status", type.plural), type, type.kind,
                              {"get", "patch", "update"}));
    }
    if (type.scalable()) {
      json::object scale =
          resource(fmt::format("{}/scale", type.plural), type, "Scale", {"get", "patch", "update"});
      scale["group"] = "autoscaling";
      scale["version"] = "v1";
      list.push_back(std::move(scale));
    }
  }
  if (list.empty()) return {};
  return {
      {"kind", "APIResourceList"},
      {"apiVersion", "v1"},
      {"groupVersion", group.empty() ? std::string(version) : fmt::format("{}/{}", group, version)},
      {"resources", std::move(list)}};
}

json::object aggregated_discovery(bool core, std::string_view version) {
  json::array items;
  if (core) {
    items.push_back(aggregated_group("", {"v1"}));
  } else {
    for (const auto& [group, versions] : groups()) {
      items.push_back(aggregated_group(group, versions));
    }
  }
  return {{"kind", "APIGroupDiscoveryList"},
          {"apiVersion", fmt::format("apidiscovery.k8s.io/{}", version)},
          {"metadata", json::object()},
          {"items", std::move(items)}};
}

std::string_view aggregated_version(std::string_view accept) {
  while (!accept.empty()) {
    const size_t comma = accept.find(',');
    const std::string_view clause = accept.substr(0, comma);
    accept.remove_prefix(comma == std::string_view::npos ? accept.size() : comma + 1);
    if (!clause.contains("as=APIGroupDiscoveryList") || !clause.contains("application/json")) {
      continue;
    }
    if (clause.contains("v=v2beta1")) return "v2beta1";
    if (clause.contains("v=v2")) return "v2";
  }
  return {};
}

json::object version_page() {
  return {{"major", kMajor},
          {"minor", kMinor},
          {"gitVersion", fmt::format("v{}.{}.0+sluice.{}", kMajor, kMinor, kVersion)},
          {"gitCommit", ""},
          {"gitTreeState", ""},
          {"buildDate", ""},
          {"goVersion", ""},
          {"compiler", "clang"},
          {"platform", "linux/amd64"}};
}

}  // namespace sluice::control
