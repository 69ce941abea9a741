#include "control/openapi.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <set>
#include <vector>

#include "base/build_info.h"
#include "base/secret.h"
#include "control/resource_types.h"
#include "control/schema.h"

namespace sluice::control {
namespace {

enum class Dialect { kV2, kV3 };

constexpr std::array<std::string_view, 4> kMetaTypes = {"ObjectMeta", "ListMeta", "OwnerReference",
                                                        "ManagedFieldsEntry"};

std::string definition_name(std::string_view type) {
  for (const std::string_view meta : kMetaTypes) {
    if (meta == type) return fmt::format("io.k8s.apimachinery.pkg.apis.meta.v1.{}", type);
  }
  return fmt::format("dev.sluice.{}", type);
}

std::string reference(std::string_view type, Dialect dialect) {
  return fmt::format("{}{}", dialect == Dialect::kV2 ? "#/definitions/" : "#/components/schemas/",
                     definition_name(type));
}

json::object gvk_of(const ResourceType& type) {
  return {{"group", type.group}, {"version", type.version}, {"kind", type.kind}};
}

class Writer {
 public:
  explicit Writer(Dialect dialect) : dialect_(dialect) {}

  // Of a field: by reference where the type has a name.
  json::object use(const Schema& schema, std::string_view description) {
    json::object out;
    if (!schema.name.empty()) {
      wanted_.insert(schema.name);
      if (dialect_ == Dialect::kV2) {
        out["$ref"] = reference(schema.name, dialect_);
      } else {
        out["allOf"] = json::array{json::object{{"$ref", reference(schema.name, dialect_)}}};
      }
    } else {
      out = inline_schema(schema);
    }
    if (!description.empty()) out["description"] = description;
    return out;
  }

  // Whole, of a named type.
  json::object define(const Schema& schema) {
    json::object properties;
    json::array required;
    for (const SchemaField& field : schema.fields) {
      json::object property = use(*field.schema, text_of(field));
      if (!field.default_value.is_null()) property["default"] = field.default_value;
      properties[field.name] = std::move(property);
      if (field.required) required.emplace_back(field.name);
    }
    json::object out{{"description", schema.description}, {"type", "object"}};
    if (!required.empty()) out["required"] = std::move(required);
    if (!properties.empty()) out["properties"] = std::move(properties);
    return out;
  }

  // Definitions of the types used so far, and of those that they use.
  json::object definitions() {
    json::object out;
    std::set<std::string> done;
    while (done != wanted_) {
      for (const std::string& name : std::set<std::string>(wanted_)) {
        if (!done.insert(name).second) continue;
        out[definition_name(name)] = define(*SchemaBook::ours().find(name));
      }
    }
    return out;
  }

 private:
  static std::string text_of(const SchemaField& field) {
    if (!field.refused.empty()) {
      return fmt::format("{} Not supported: {}.", field.description, field.refused);
    }
    if (!field.ignored.empty()) {
      return fmt::format("{} Has no effect: {}.", field.description, field.ignored);
    }
    return field.description;
  }

  json::object inline_schema(const Schema& schema) {
    switch (schema.kind) {
      case SchemaKind::kString:
        return scalar("string", schema);
      case SchemaKind::kInteger:
        return scalar("integer", schema);
      case SchemaKind::kNumber:
        return scalar("number", schema);
      case SchemaKind::kBoolean:
        return scalar("boolean", schema);
      case SchemaKind::kIntOrString:
        if (dialect_ == Dialect::kV2) return {{"type", "string"}, {"format", "int-or-string"}};
        return {{"x-kubernetes-int-or-string", true},
                {"oneOf",
                 json::array{json::object{{"type", "integer"}}, json::object{{"type", "string"}}}}};
      case SchemaKind::kObject:
        return {{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}};
      case SchemaKind::kMap:
        return {{"type", "object"}, {"additionalProperties", use(*schema.items, {})}};
      case SchemaKind::kList:
        return list(schema);
      case SchemaKind::kAny:
        return {{"x-kubernetes-preserve-unknown-fields", true}};
    }
    return {};
  }

  static json::object scalar(std::string_view type, const Schema& schema) {
    json::object out{{"type", type}};
    if (!schema.format.empty()) out["format"] = schema.format;
    if (schema.min) out["minimum"] = *schema.min;
    if (schema.max) out["maximum"] = *schema.max;
    if (!schema.one_of.empty()) {
      json::array words;
      for (const std::string& word : schema.one_of) words.emplace_back(word);
      out["enum"] = std::move(words);
    }
    return out;
  }

  json::object list(const Schema& schema) {
    json::object out{{"type", "array"}, {"items", use(*schema.items, {})}};
    out["x-kubernetes-list-type"] = schema.list == ListKind::kMap   ? "map"
                                    : schema.list == ListKind::kSet ? "set"
                                                                    : "atomic";
    if (!schema.keys.empty()) {
      json::array keys;
      for (const std::string& key : schema.keys) keys.emplace_back(key);
      out["x-kubernetes-list-map-keys"] = std::move(keys);
    }
    if (schema.patch_merge) {
      out["x-kubernetes-patch-strategy"] = "merge";
      if (!schema.keys.empty()) out["x-kubernetes-patch-merge-key"] = schema.keys.front();
    }
    return out;
  }

  const Dialect dialect_;
  std::set<std::string> wanted_;
};

json::object parameter(std::string_view name, std::string_view type, std::string_view in,
                       Dialect dialect) {
  json::object out{{"name", name}, {"in", in}};
  if (in == "path") out["required"] = true;
  if (dialect == Dialect::kV2) {
    out["type"] = type;
    out["uniqueItems"] = true;
  } else {
    out["schema"] = {{"type", type}, {"uniqueItems", true}};
  }
  return out;
}

json::object operation(const ResourceType& type, std::string_view action,
                       const std::vector<std::string_view>& queries, Dialect dialect) {
  json::array parameters;
  for (const std::string_view query : queries) {
    const bool boolean = query == "force" || query == "watch" || query == "allowWatchBookmarks";
    const bool number = query == "limit" || query == "timeoutSeconds";
    parameters.push_back(parameter(query,
                                   boolean  ? "boolean"
                                   : number ? "integer"
                                            : "string",
                                   "query", dialect));
  }
  json::object out{{"description", fmt::format("{} a {}", action, type.kind)},
                   {"operationId", fmt::format("{}{}{}", action, type.version, type.kind)},
                   {"parameters", std::move(parameters)},
                   {"responses", json::object{{"200", json::object{{"description", "OK"}}}}},
                   {"x-kubernetes-action", action},
                   {"x-kubernetes-group-version-kind", gvk_of(type)}};
  if (dialect == Dialect::kV2) {
    out["consumes"] = json::array{"*/*"};
    out["produces"] = json::array{"application/json"};
  }
  return out;
}

void add_paths(const ResourceType& type, Dialect dialect, json::object& paths) {
  const std::string root = type.group.empty()
                               ? fmt::format("/api/{}", type.version)
                               : fmt::format("/apis/{}/{}", type.group, type.version);
  const std::string collection =
      type.namespaced ? fmt::format("{}/namespaces/{{namespace}}/{}", root, type.plural)
                      : fmt::format("{}/{}", root, type.plural);
  const std::vector<std::string_view> list = {
      "allowWatchBookmarks",  "continue",       "fieldSelector",
      "labelSelector",        "limit",          "resourceVersion",
      "resourceVersionMatch", "timeoutSeconds", "watch"};
  const std::vector<std::string_view> write = {"dryRun", "fieldManager", "fieldValidation"};
  const std::vector<std::string_view> patch = {"dryRun", "fieldManager", "fieldValidation",
                                               "force"};
  const std::vector<std::string_view> remove = {"dryRun", "gracePeriodSeconds", "orphanDependents",
                                                "propagationPolicy"};
  json::array place;
  if (type.namespaced) place.push_back(parameter("namespace", "string", "path", dialect));
  paths[collection] = {{"get", operation(type, "list", list, dialect)},
                       {"post", operation(type, "post", write, dialect)},
                       {"delete", operation(type, "deletecollection", remove, dialect)},
                       {"parameters", place}};
  place.push_back(parameter("name", "string", "path", dialect));
  paths[collection + "/{name}"] = {{"get", operation(type, "get", {}, dialect)},
                                   {"put", operation(type, "put", write, dialect)},
                                   {"patch", operation(type, "patch", patch, dialect)},
                                   {"delete", operation(type, "delete", remove, dialect)},
                                   {"parameters", place}};
  if (type.namespaced) {
    paths[fmt::format("{}/{}", root, type.plural)] = {
        {"get", operation(type, "list", list, dialect)}};
  }
}

json::object info() { return {{"title", "Sluice"}, {"version", kVersion}}; }

std::string group_version_path(const ResourceType& type) {
  return type.group.empty() ? fmt::format("api/{}", type.version)
                            : fmt::format("apis/{}/{}", type.group, type.version);
}

// Kinds are definitions of their own, marked with their group, version and kind.
void add_kind(Writer& writer, const ResourceType& type, json::object& definitions) {
  json::object& definition = definitions[definition_name(type.kind)].emplace_object();
  definition = writer.define(*type.schema);
  definition["x-kubernetes-group-version-kind"] = json::array{gvk_of(type)};
}

using Documents = std::map<std::string, std::string, std::less<>>;

Documents make_v3() {
  std::map<std::string, std::vector<const ResourceType*>> by_version;
  for (const ResourceType& type : resource_types()) {
    by_version[group_version_path(type)].push_back(&type);
  }
  Documents documents;
  for (const auto& [path, types] : by_version) {
    Writer writer(Dialect::kV3);
    json::object kinds;
    json::object paths;
    for (const ResourceType* type : types) {
      add_kind(writer, *type, kinds);
      add_paths(*type, Dialect::kV3, paths);
    }
    json::object schemas = writer.definitions();
    for (auto& [name, kind] : kinds) schemas[name] = std::move(kind);
    documents[path] = json::serialize(
        json::object{{"openapi", "3.0.0"},
                     {"info", info()},
                     {"paths", std::move(paths)},
                     {"components", json::object{{"schemas", std::move(schemas)}}}});
  }
  return documents;
}

const Documents& v3_documents() {
  static const Documents documents = make_v3();
  return documents;
}

json::object make_v2() {
  Writer writer(Dialect::kV2);
  json::object kinds;
  json::object paths;
  for (const ResourceType& type : resource_types()) {
    add_kind(writer, type, kinds);
    add_paths(type, Dialect::kV2, paths);
  }
  json::object definitions = writer.definitions();
  for (auto& [name, kind] : kinds) definitions[name] = std::move(kind);
  return {{"swagger", "2.0"},
          {"info", info()},
          {"paths", std::move(paths)},
          {"definitions", std::move(definitions)}};
}

std::string make_index() {
  json::object paths;
  for (const auto& [path, document] : v3_documents()) {
    paths[path] =
        json::object{{"serverRelativeURL", fmt::format("/openapi/v3/{}?hash={}", path,
                                                       SecretDigest(document).short_name())}};
  }
  return json::serialize(json::object{{"paths", std::move(paths)}});
}

}  // namespace

const std::string& openapi_v3_index() {
  static const std::string index = make_index();
  return index;
}

const std::string* openapi_v3(std::string_view group_version) {
  const auto found = v3_documents().find(group_version);
  return found == v3_documents().end() ? nullptr : &found->second;
}

const json::object& openapi_v2() {
  static const json::object document = make_v2();
  return document;
}

const std::string& openapi_v2_text() {
  static const std::string text = json::serialize(openapi_v2());
  return text;
}

const std::string& openapi_v2_protobuf() {
  static const std::string bytes = encode_gnostic(openapi_v2());
  return bytes;
}

}  // namespace sluice::control
