#include "control/managed_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "control/json_util.h"
#include "control/limits.h"

namespace sluice::control {
namespace {

constexpr size_t kMaxConflicts = 64;

// What the server or the object's identity gives is nobody's.
constexpr std::array<std::string_view, 11> kOwnerless = {"name",
                                                         "namespace",
                                                         "uid",
                                                         "resourceVersion",
                                                         "generation",
                                                         "creationTimestamp",
                                                         "selfLink",
                                                         "managedFields",
                                                         "deletionTimestamp",
                                                         "deletionGracePeriodSeconds",
                                                         "generateName"};

void strip_ownerless(FieldSet& set) {
  set.erase("f:apiVersion");
  set.erase("f:kind");
  FieldSet* metadata = set.find("f:metadata") == nullptr ? nullptr : &set.child("f:metadata");
  if (metadata == nullptr) return;
  for (const std::string_view name : kOwnerless) metadata->erase(member_element(name));
  metadata->set_self(false);
  if (metadata->empty()) set.erase("f:metadata");
}

Manager* find(std::vector<Manager>& managers, const Manager& who) {
  const auto found =
      std::ranges::find_if(managers, [&](const Manager& each) { return each.same(who); });
  return found == managers.end() ? nullptr : &*found;
}

void drop_idle(std::vector<Manager>& managers) {
  std::erase_if(managers, [](const Manager& each) { return each.fields.empty(); });
  // The oldest updates become one, so that the list stays bounded.
  while (managers.size() > limits::kMaxManagers) {
    const auto oldest = std::ranges::find_if(
        managers, [](const Manager& each) { return each.operation == Operation::kUpdate; });
    if (oldest == managers.end() || std::next(oldest) == managers.end()) return;
    const auto next = std::find_if(std::next(oldest), managers.end(), [](const Manager& each) {
      return each.operation == Operation::kUpdate;
    });
    if (next == managers.end()) return;
    next->fields.add(oldest->fields);
    next->name = "ancient-changes";
    managers.erase(oldest);
  }
}

std::string title(const Manager& manager) {
  std::string text = fmt::format("\"{}\"", manager.name);
  if (!manager.subresource.empty())
    text += fmt::format(" with subresource \"{}\"", manager.subresource);
  if (manager.operation == Operation::kUpdate)
    text += fmt::format(" using {}", manager.api_version);
  return text;
}

struct Clash {
  const Manager* manager;
  std::vector<std::string> fields;
};

std::unexpected<ApiError> clash_error(const std::vector<Clash>& clashes) {
  size_t count = 0;
  std::vector<std::string> parts;
  std::vector<Cause> causes;
  for (const Clash& clash : clashes) {
    count += clash.fields.size();
    for (const std::string& field : clash.fields) {
      parts.push_back(fmt::format("conflict with {}: {}", title(*clash.manager), field));
      causes.push_back(
          {"FieldManagerConflict", fmt::format("conflict with {}", title(*clash.manager)), field});
    }
  }
  ApiError error(409, "Conflict",
                 fmt::format("Apply failed with {} conflict{}: {}", count, count == 1 ? "" : "s",
                             fmt::join(parts, "; ")));
  error.causes = std::move(causes);
  return std::unexpected(std::move(error));
}

}  // namespace

ApiResult<std::vector<Manager>> read_managers(const json::object& object) {
  std::vector<Manager> managers;
  const auto* list = array_at(object, "metadata.managedFields");
  if (list == nullptr) return managers;
  for (const json::value& entry : *list) {
    const auto* fields = entry.if_object();
    if (fields == nullptr) return bad_request("metadata.managedFields: expected objects");
    if (fields->empty()) continue;
    const std::string_view operation = text_at(*fields, "operation");
    if (operation != "Apply" && operation != "Update") {
      return bad_request("metadata.managedFields: operation must be Apply or Update");
    }
    Manager manager{.name = std::string(text_at(*fields, "manager")),
                    .operation = operation == "Apply" ? Operation::kApply : Operation::kUpdate,
                    .api_version = std::string(text_at(*fields, "apiVersion")),
                    .subresource = std::string(text_at(*fields, "subresource")),
                    .time = std::string(text_at(*fields, "time")),
                    .fields = {}};
    if (const json::value* tree = fields->if_contains("fieldsV1"); tree != nullptr) {
      auto set = FieldSet::from_json(*tree);
      if (!set) return bad_request("metadata.managedFields: " + set.error().message());
      manager.fields = *std::move(set);
    }
    if (managers.size() == 2 * limits::kMaxManagers) {
      return bad_request("metadata.managedFields: too many entries");
    }
    managers.push_back(std::move(manager));
  }
  return managers;
}

void write_managers(json::object& object, const std::vector<Manager>& managers) {
  json::object& metadata = object_of(object, "metadata");
  if (managers.empty()) {
    metadata.erase("managedFields");
    return;
  }
  json::array list;
  for (const Manager& manager : managers) {
    json::object entry{{"manager", manager.name},
                       {"operation", manager.operation == Operation::kApply ? "Apply" : "Update"},
                       {"apiVersion", manager.api_version},
                       {"time", manager.time},
                       {"fieldsType", "FieldsV1"},
                       {"fieldsV1", manager.fields.to_json()}};
    if (!manager.subresource.empty()) entry["subresource"] = manager.subresource;
    list.push_back(std::move(entry));
  }
  metadata["managedFields"] = std::move(list);
}

void note_update(const Schema& schema, const json::object& before, const json::object& after,
                 const Manager& who, std::vector<Manager>& managers) {
  FieldChanges changes = compare_fields(&schema, before, after);
  strip_ownerless(changes.added);
  strip_ownerless(changes.modified);
  strip_ownerless(changes.removed);
  FieldSet taken = changes.added;
  taken.add(changes.modified);
  for (Manager& manager : managers) {
    manager.fields.remove(changes.removed);
    if (!manager.same(who)) manager.fields.remove(changes.modified);
  }
  if (!taken.empty()) {
    Manager* mine = find(managers, who);
    if (mine == nullptr) mine = &managers.emplace_back(who);
    mine->fields.add(taken);
    mine->time = who.time;
  }
  drop_idle(managers);
}

ApiResult<Applied> apply_config(const Schema& schema, const json::object& live,
                                std::vector<Manager> managers, const json::object& config,
                                const Manager& who, bool force) {
  FieldSet wanted = fields_of(&schema, config);
  strip_ownerless(wanted);
  json::value merged = merge_applied(&schema, live, config);
  const FieldChanges changes = compare_fields(&schema, live, merged);
  FieldSet touched = changes.modified;
  touched.add(changes.added);

  std::vector<Clash> clashes;
  for (Manager& manager : managers) {
    if (manager.same(who)) continue;
    // The same manager may own the field through an update: that is no quarrel with itself.
    FieldSet overlap = manager.fields.intersection(touched).intersection(wanted);
    if (overlap.empty()) continue;
    if (force) {
      manager.fields.remove(overlap);
    } else {
      clashes.push_back({&manager, overlap.paths(kMaxConflicts)});
    }
  }
  if (!clashes.empty()) return clash_error(clashes);

  // What this manager applied before, and nobody else owns, goes.
  Manager* mine = find(managers, who);
  if (mine != nullptr) {
    FieldSet gone = mine->fields;
    gone.remove(wanted);
    for (const Manager& manager : managers) {
      if (&manager != mine) gone.remove(manager.fields);
    }
    remove_fields(&schema, merged, gone);
    // A container that was emptied goes, unless it is wanted empty.
    merged = merge_applied(&schema, merged, config);
    if (mine->fields != wanted || !touched.empty()) mine->time = who.time;
    mine->fields = std::move(wanted);
  } else {
    mine = &managers.emplace_back(who);
    mine->fields = std::move(wanted);
  }
  for (Manager& manager : managers) {
    if (&manager != mine) manager.fields = existing_fields(&schema, merged, manager.fields);
  }
  drop_idle(managers);
  return Applied{std::move(merged.get_object()), std::move(managers)};
}

}  // namespace sluice::control
