// A change on its way: what an object was, and what it is to be. Internal to Objects.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "control/managed_fields.h"
#include "control/object_store.h"
#include "control/objects.h"
#include "control/schema_check.h"

namespace sluice::control {

struct Draft {
  const ResourceType* type = nullptr;
  ObjectKey key = {};
  ObjectPtr before = {};  // null: new
  json::object object = {};
  Subresource subresource = Subresource::kNone;
  std::string stated_version = {};  // that the caller believes to change
  bool applied = false;             // `managers` are known already
  std::vector<Manager> managers = {};
  SchemaReport report = {};
  std::vector<std::string> warnings = {};
};

ObjectName name_of(const ResourceType& type, std::string_view name);
// The prefix and five random characters.
std::string generated_name(std::string_view prefix);
std::string new_uid();
void drop(json::object& object, std::string_view key);
Manager manager_of(const ResourceType& type, Subresource subresource, Operation operation,
                   const std::string& name, std::string time);

// apiVersion, kind, name and namespace must be those of the request; absent ones are filled in.
ApiOutcome check_identity(Draft& draft);
// Puts back what only the server sets, and what the subresource does not reach.
void keep_system_fields(Draft& draft, const std::string& now);
// Counts the changes of all but metadata and status.
void count_generation(Draft& draft);

}  // namespace sluice::control
