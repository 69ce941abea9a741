// Objects and their schema ↔ sets of fields: what an object holds, how two differ, how one is laid
// over another.

#include <map>
#include <string>
#include <utility>

#include "control/field_set.h"
#include "control/json_util.h"

namespace sluice::control {
namespace {

bool is_granular(const Schema* schema, const json::value& value) {
  return value.is_object() && (schema == nullptr || schema->granular());
}

// Lists whose items are told apart. Empty elements (an item without its keys) make it atomic.
bool has_elements(const Schema* schema, const json::value& value) {
  return value.is_array() && list_kind_of(schema) != ListKind::kAtomic;
}

std::string element_of(const Schema& list, const json::value& item) {
  return list.list == ListKind::kSet ? value_element(item) : item_element(list, item);
}

using Items = std::map<std::string, const json::value*>;

Items items_by_element(const Schema& list, const json::array& array) {
  Items items;
  for (const json::value& item : array) items.emplace(element_of(list, item), &item);
  return items;
}

void collect(const Schema* schema, const json::value& value, FieldSet& out) {
  if (is_granular(schema, value)) {
    const auto& object = value.get_object();
    if (object.empty()) out.set_self(true);
    for (const auto& [key, member] : object) {
      collect(member_of(schema, key), member, out.child(member_element(key)));
    }
    return;
  }
  if (!has_elements(schema, value) || value.get_array().empty()) {
    out.set_self(true);
    return;
  }
  for (const json::value& item : value.get_array()) {
    const std::string element = element_of(*schema, item);
    if (element.empty()) {
      out.set_self(true);
      continue;
    }
    FieldSet& child = out.child(element);
    if (schema->list == ListKind::kMap) collect(schema->items, item, child);
    child.set_self(true);
  }
}

void compare(const Schema* schema, const json::value& before, const json::value& after,
             FieldSet& added, FieldSet& modified, FieldSet& removed);

void compare_lists(const Schema& schema, const json::array& before, const json::array& after,
                   FieldSet& added, FieldSet& modified, FieldSet& removed) {
  const Items old_items = items_by_element(schema, before);
  const Items new_items = items_by_element(schema, after);
  const bool keyed = schema.list == ListKind::kMap;
  for (const auto& [element, item] : new_items) {
    const auto was = old_items.find(element);
    if (was == old_items.end()) {
      FieldSet& child = added.child(element);
      if (keyed) collect(schema.items, *item, child);
      child.set_self(true);
    } else if (keyed) {
      compare(schema.items, *was->second, *item, added.child(element), modified.child(element),
              removed.child(element));
    }
  }
  for (const auto& [element, item] : old_items) {
    if (new_items.contains(element)) continue;
    FieldSet& child = removed.child(element);
    if (keyed) collect(schema.items, *item, child);
    child.set_self(true);
  }
}

void compare(const Schema* schema, const json::value& before, const json::value& after,
             FieldSet& added, FieldSet& modified, FieldSet& removed) {
  if (is_granular(schema, before) && is_granular(schema, after)) {
    const auto& was = before.get_object();
    const auto& now = after.get_object();
    for (const auto& [key, value] : now) {
      const std::string element = member_element(key);
      const json::value* old = was.if_contains(key);
      if (old == nullptr) {
        collect(member_of(schema, key), value, added.child(element));
      } else {
        compare(member_of(schema, key), *old, value, added.child(element), modified.child(element),
                removed.child(element));
      }
    }
    for (const auto& [key, value] : was) {
      if (now.contains(key)) continue;
      collect(member_of(schema, key), value, removed.child(member_element(key)));
    }
    return;
  }
  if (has_elements(schema, before) && has_elements(schema, after)) {
    return compare_lists(*schema, before.get_array(), after.get_array(), added, modified, removed);
  }
  if (!same_json(before, after)) modified.set_self(true);
}

json::value merge_lists(const Schema& schema, const json::array& live, const json::array& config) {
  json::array merged = live;
  for (const json::value& item : config) {
    const std::string element = element_of(schema, item);
    json::value* present = nullptr;
    for (json::value& candidate : merged) {
      if (element_of(schema, candidate) == element) {
        present = &candidate;
        break;
      }
    }
    if (present == nullptr) {
      merged.push_back(item);
    } else if (schema.list == ListKind::kMap) {
      *present = merge_applied(schema.items, *present, item);
    }
  }
  return merged;
}

bool is_emptied(const json::value& value) {
  return (value.is_object() && value.get_object().empty()) ||
         (value.is_array() && value.get_array().empty());
}

}  // namespace

FieldSet fields_of(const Schema* schema, const json::value& value) {
  FieldSet set;
  collect(schema, value, set);
  set.set_self(false);
  return set;
}

FieldChanges compare_fields(const Schema* schema, const json::value& before,
                            const json::value& after) {
  FieldChanges changes;
  compare(schema, before, after, changes.added, changes.modified, changes.removed);
  changes.added.prune();
  changes.modified.prune();
  changes.removed.prune();
  return changes;
}

json::value merge_applied(const Schema* schema, const json::value& live,
                          const json::value& config) {
  if (is_granular(schema, live) && is_granular(schema, config)) {
    json::object merged = live.get_object();
    for (const auto& [key, value] : config.get_object()) {
      json::value* present = merged.if_contains(key);
      if (present == nullptr) {
        merged.emplace(key, value);
      } else {
        *present = merge_applied(member_of(schema, key), *present, value);
      }
    }
    return merged;
  }
  if (has_elements(schema, live) && has_elements(schema, config)) {
    return merge_lists(*schema, live.get_array(), config.get_array());
  }
  return config;
}

void remove_fields(const Schema* schema, json::value& value, const FieldSet& gone) {
  if (is_granular(schema, value)) {
    auto& object = value.get_object();
    for (auto at = object.begin(); at != object.end();) {
      const FieldSet* fields = gone.find(member_element(at->key()));
      if (fields == nullptr) {
        ++at;
        continue;
      }
      const bool was_empty = is_emptied(at->value());
      if (!fields->children().empty()) {
        remove_fields(member_of(schema, at->key()), at->value(), *fields);
      }
      const bool leaf = fields->has_self() && fields->children().empty();
      const bool emptied = !was_empty && is_emptied(at->value());
      at = leaf || emptied ? object.stable_erase(at) : std::next(at);
    }
    return;
  }
  if (!has_elements(schema, value)) return;
  auto& list = value.get_array();
  for (auto at = list.begin(); at != list.end();) {
    const FieldSet* fields = gone.find(element_of(*schema, *at));
    if (fields != nullptr && fields->has_self()) {
      at = list.erase(at);
      continue;
    }
    if (fields != nullptr) remove_fields(schema->items, *at, *fields);
    ++at;
  }
}

FieldSet existing_fields(const Schema* schema, const json::value& value, const FieldSet& set) {
  FieldSet kept;
  if (is_granular(schema, value)) {
    for (const auto& [key, member] : value.get_object()) {
      const std::string element = member_element(key);
      const FieldSet* fields = set.find(element);
      if (fields == nullptr) continue;
      FieldSet below = existing_fields(member_of(schema, key), member, *fields);
      below.set_self(fields->has_self());
      if (!below.empty()) kept.child(element) = std::move(below);
    }
  } else if (has_elements(schema, value)) {
    for (const json::value& item : value.get_array()) {
      const std::string element = element_of(*schema, item);
      const FieldSet* fields = set.find(element);
      if (fields == nullptr) continue;
      FieldSet below = existing_fields(schema->items, item, *fields);
      below.set_self(fields->has_self());
      if (!below.empty()) kept.child(element) = std::move(below);
    }
  }
  return kept;
}

}  // namespace sluice::control
