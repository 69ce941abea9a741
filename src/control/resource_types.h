// The kinds of objects that the API serves: one table.
//
// Immutable; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/schema.h"

namespace sluice::control {

// A column of kubectl's tables.
struct PrinterColumn {
  std::string_view name;
  std::string_view type;  // string, integer, date
  // A dotted path, numbers for items of lists; or "name"; "age" and "since:PATH" for a time shown
  // as an age; "conditions:Ready:status" for a field of a condition; "count:PATH" for how many
  // members; "object:PATH" for a reference; "traffic:latest" and "traffic:prev" for percents;
  // "runtime" for the runtime that was chosen or asked for.
  std::string_view path;
  bool wide = false;
};

// How the replicas of a kind are read and set by the scale subresource.
struct ScalePaths {
  std::string_view min;       // spec path that holds the number
  std::string_view max;       // set beside it, so that both mean the number
  std::string_view replicas;  // status path
};

struct ResourceType {
  std::string_view group;  // empty: core
  std::string_view version;
  std::string_view kind;
  std::string_view plural;
  std::string_view singular;
  std::vector<std::string_view> short_names;
  std::vector<std::string_view> categories;
  bool namespaced = true;
  bool has_status = false;  // a status subresource; else status is a field like any other
  bool counts_generation = true;
  // Names become host names.
  bool host_names = false;
  bool ephemeral = false;  // events: the oldest goes when there are too many
  bool secret = false;     // not for the role view
  bool admin_writes = false;
  // Written by this process only; others may read, and delete where users_delete says so.
  bool own_writes = false;
  bool users_delete = false;
  bool refused = false;  // known by name only: what to use instead is said at every write
  std::vector<PrinterColumn> columns;
  ScalePaths scale = {};
  const Schema* schema = nullptr;

  bool scalable() const { return !scale.min.empty(); }
  std::string api_version() const;
  std::string qualified_plural() const;  // inferenceservices.serving.kserve.io
};

std::span<const ResourceType> resource_types();
const ResourceType* find_resource(std::string_view group, std::string_view version,
                                  std::string_view plural);
const ResourceType* find_kind(std::string_view api_version, std::string_view kind);

// The kind that KServe has and this server does not, for a refusal that says what to use instead.
inline constexpr std::string_view kServingGroup = "serving.kserve.io";
inline constexpr std::string_view kSluiceGroup = "sluice.dev";

}  // namespace sluice::control
