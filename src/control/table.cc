#include "control/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "control/json_util.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

// As find_path, but steps that are numbers index lists.
const json::value* find_cell(const json::object& object, std::string_view path) {
  const json::object* at = &object;
  const json::array* list = nullptr;
  while (true) {
    const size_t dot = path.find('.');
    const std::string_view step = path.substr(0, dot);
    const json::value* value = nullptr;
    if (at != nullptr) {
      value = at->if_contains(step);
    } else if (list != nullptr) {
      size_t index = 0;
      const auto parsed = std::from_chars(step.data(), step.data() + step.size(), index);
      if (parsed.ec == std::errc() && index < list->size()) value = &(*list)[index];
    }
    if (value == nullptr || dot == std::string_view::npos) return value;
    at = value->if_object();
    list = value->if_array();
    path.remove_prefix(dot + 1);
  }
}

json::value condition_cell(const json::object& object, std::string_view what) {
  const size_t colon = what.find(':');
  const std::string_view type = what.substr(0, colon);
  const auto* conditions = array_at(object, "status.conditions");
  if (conditions == nullptr) return nullptr;
  for (const json::value& condition : *conditions) {
    const auto* fields = condition.if_object();
    if (fields != nullptr && text_at(*fields, "type") == type) {
      return json::value(text_at(*fields, what.substr(colon + 1)));
    }
  }
  return nullptr;
}

json::value age_cell(const json::object& object, std::string_view path, double now) {
  const auto since = parse_time(text_at(object, path));
  if (!since) return "<unknown>";
  return json::value(age_text(now - *since));
}

json::value count_cell(const json::object& object, std::string_view path) {
  const json::value* value = find_path(object, path);
  if (value == nullptr) return 0;
  if (const auto* members = value->if_object()) return members->size();
  if (const auto* items = value->if_array()) return items->size();
  return 0;
}

// KServe's columns: the part of the traffic of the latest revision, and of the one before.
json::value traffic_cell(const json::object& object, bool latest) {
  const auto* traffic = array_at(object, "status.components.predictor.traffic");
  if (traffic == nullptr) return nullptr;
  for (const json::value& entry : *traffic) {
    const auto* fields = entry.if_object();
    if (fields == nullptr) continue;
    const bool is_latest = true_at(*fields, "latestRevision");
    const json::value* percent = fields->if_contains("percent");
    if (is_latest == latest && percent != nullptr) return *percent;
  }
  return nullptr;
}

json::value object_cell(const json::object& object, std::string_view path) {
  const auto* reference = object_at(object, path);
  if (reference == nullptr) return nullptr;
  std::string kind(text_at(*reference, "kind"));
  for (char& c : kind) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return json::value(fmt::format("{}/{}", kind, text_at(*reference, "name")));
}

json::value runtime_cell(const json::object& object) {
  for (const std::string_view path :
       {"status.servingRuntimeName", "status.clusterServingRuntimeName",
        "spec.predictor.model.runtime"}) {
    if (const std::string_view name = text_at(object, path); !name.empty()) {
      return json::value(name);
    }
  }
  return nullptr;
}

json::value cell(const PrinterColumn& column, const json::object& object, double now) {
  const std::string_view path = column.path;
  if (path == "name") return json::value(text_at(object, "metadata.name"));
  if (path == "age") return age_cell(object, "metadata.creationTimestamp", now);
  if (path == "runtime") return runtime_cell(object);
  const size_t colon = path.find(':');
  if (colon != std::string_view::npos) {
    const std::string_view how = path.substr(0, colon);
    const std::string_view rest = path.substr(colon + 1);
    if (how == "conditions") return condition_cell(object, rest);
    if (how == "since") return age_cell(object, rest, now);
    if (how == "count") return count_cell(object, rest);
    if (how == "object") return object_cell(object, rest);
    return traffic_cell(object, rest == "latest");
  }
  const json::value* value = find_cell(object, path);
  return value == nullptr ? json::value(nullptr) : *value;
}

}  // namespace

json::object metadata_only(const json::object& object) {
  json::object partial{{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}};
  if (const json::value* metadata = object.if_contains("metadata")) {
    partial["metadata"] = *metadata;
  }
  return partial;
}

json::object empty_table(const ResourceType& type) {
  json::array columns;
  for (const PrinterColumn& column : type.columns) {
    columns.push_back(json::object{{"name", column.name},
                                   {"type", column.type},
                                   {"format", column.path == "name" ? "name" : ""},
                                   {"description", ""},
                                   {"priority", column.wide ? 1 : 0}});
  }
  return {{"kind", "Table"},
          {"apiVersion", "meta.k8s.io/v1"},
          {"metadata", json::object()},
          {"columnDefinitions", std::move(columns)},
          {"rows", json::array()}};
}

json::object table_row(const ResourceType& type, const json::object& object, RowObject include,
                       double now) {
  json::array cells;
  for (const PrinterColumn& column : type.columns) cells.push_back(cell(column, object, now));
  json::object row{{"cells", std::move(cells)}};
  if (include == RowObject::kMetadata) row["object"] = metadata_only(object);
  if (include == RowObject::kObject) row["object"] = object;
  return row;
}

}  // namespace sluice::control
