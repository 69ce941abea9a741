// meta.k8s.io/v1 Table: what kubectl prints of a list. Pure functions.
#pragma once

#include <string_view>

#include "base/json.h"
#include "control/resource_types.h"

namespace sluice::control {

// includeObject of the request.
enum class RowObject { kNone, kMetadata, kObject };

// {"kind":"Table",…} with its columns, without rows.
json::object empty_table(const ResourceType& type);
json::object table_row(const ResourceType& type, const json::object& object, RowObject include,
                       double now);
// The object with its metadata only.
json::object metadata_only(const json::object& object);

}  // namespace sluice::control
