// FieldSet: a set of fields of an object, as managedFields writes them ("FieldsV1").
//
// A tree whose edges are path elements in their written form: "f:name" a member, "k:{…}" an item
// of a list by its keys, "v:…" a value of a set. A node that is in the set itself is written as "."
// beside its children, or as {} when it has none. Plain values.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "control/schema.h"

namespace sluice::control {

class FieldSet {
 public:
  using Children = std::map<std::string, FieldSet, std::less<>>;

  bool empty() const { return !self_ && children_.empty(); }
  bool has_self() const { return self_; }
  void set_self(bool in) { self_ = in; }
  const Children& children() const { return children_; }
  const FieldSet* find(std::string_view element) const;
  // Made when it is not there; prune() removes those that stay empty.
  FieldSet& child(const std::string& element) { return children_[element]; }
  void erase(std::string_view element);
  void prune();

  void add(const FieldSet& other);
  void remove(const FieldSet& other);
  FieldSet intersection(const FieldSet& other) const;
  bool operator==(const FieldSet&) const = default;

  // ".spec.predictor.minReplicas", one for each field in the set, at most `limit`.
  std::vector<std::string> paths(size_t limit) const;

  json::object to_json() const;
  static Result<FieldSet> from_json(const json::value& value);

 private:
  void collect_paths(const std::string& prefix, size_t limit, std::vector<std::string>& out) const;

  bool self_ = false;
  Children children_;
};

// Path elements.
std::string member_element(std::string_view key);
std::string value_element(const json::value& value);
// Of a list item by the list's keys, those that it has; empty when the item is no object.
std::string item_element(const Schema& list, const json::value& item);

// Every field that `value` holds, to the leaves.
FieldSet fields_of(const Schema* schema, const json::value& value);

// How `after` differs from `before`.
struct FieldChanges {
  FieldSet added;
  FieldSet modified;
  FieldSet removed;
};
FieldChanges compare_fields(const Schema* schema, const json::value& before,
                            const json::value& after);

// `config` laid over `live`: members one by one, lists by their keys, all else whole.
json::value merge_applied(const Schema* schema, const json::value& live, const json::value& config);
// Removes the fields of `gone` from the object.
void remove_fields(const Schema* schema, json::value& value, const FieldSet& gone);
// Drops from `set` what `value` does not hold.
FieldSet existing_fields(const Schema* schema, const json::value& value, const FieldSet& set);

}  // namespace sluice::control
