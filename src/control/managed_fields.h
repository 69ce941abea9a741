// Who owns which fields of an object: metadata.managedFields, kept at every change, and what
// server-side apply decides by it.
//
// Pure functions over values. After Kubernetes' published description of server-side apply.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "control/api_error.h"
#include "control/field_set.h"
#include "control/schema.h"

namespace sluice::control {

enum class Operation { kUpdate, kApply };

struct Manager {
  std::string name;
  Operation operation = Operation::kUpdate;
  std::string api_version;
  std::string subresource;
  std::string time;
  FieldSet fields;

  bool same(const Manager& other) const {
    return name == other.name && operation == other.operation && api_version == other.api_version &&
           subresource == other.subresource;
  }
};

// From metadata.managedFields; absent or [{}] means nobody.
ApiResult<std::vector<Manager>> read_managers(const json::object& object);
void write_managers(json::object& object, const std::vector<Manager>& managers);

// After `who` changed `before` into `after` by anything but apply: what changed is theirs now.
// `before` is empty for a new object.
void note_update(const Schema& schema, const json::object& before, const json::object& after,
                 const Manager& who, std::vector<Manager>& managers);

struct Applied {
  json::object object;
  std::vector<Manager> managers;
};
// `who` applies `config` to `live` (empty for a new object). 409 names fields and managers, unless
// `force` takes the fields from them.
ApiResult<Applied> apply_config(const Schema& schema, const json::object& live,
                                std::vector<Manager> managers, const json::object& config,
                                const Manager& who, bool force);

}  // namespace sluice::control
