// Strategic merge patch, after Kubernetes' description of it: a merge patch that knows which lists
// are merged, and by which key.

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "control/json_util.h"
#include "control/patch.h"

namespace sluice::control {
namespace {

constexpr std::string_view kPatch = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeleteValues = "$deleteFromPrimitiveList/";
constexpr std::string_view kOrder = "$setElementOrder/";

bool is_directive(std::string_view key) { return key.starts_with('$'); }

bool merges(const Schema* schema) {
  return schema != nullptr && schema->kind == SchemaKind::kList && schema->patch_merge;
}

json::value without_directives(const json::value& value) {
  if (const auto* object = value.if_object()) {
    json::object kept;
    for (const auto& [key, member] : *object) {
      if (!is_directive(key) && !member.is_null()) kept.emplace(key, without_directives(member));
    }
    return kept;
  }
  if (const auto* list = value.if_array()) {
    json::array kept;
    for (const json::value& item : *list) {
      const auto* object = item.if_object();
      if (object != nullptr && object->contains(kPatch)) continue;
      kept.push_back(without_directives(item));
    }
    return kept;
  }
  return value;
}

ApiOutcome merge_object(const Schema* schema, json::object& target, const json::object& patch);

json::value* find_by_key(json::array& list, const std::string& key, const json::value& wanted) {
  for (json::value& item : list) {
    const auto* object = item.if_object();
    const json::value* value = object == nullptr ? nullptr : object->if_contains(key);
    if (value != nullptr && same_json(*value, wanted)) return &item;
  }
  return nullptr;
}

ApiOutcome merge_keyed(const Schema& schema, json::array& target, const json::array& patch,
                       std::string_view name) {
  const std::string& key = schema.keys.front();
  for (const json::value& item : patch) {
    const auto* object = item.if_object();
    if (object == nullptr) {
      return bad_request(fmt::format("strategic merge patch: the items of {} are objects", name));
    }
    const std::string_view directive = text_at(*object, kPatch);
    const json::value* identity = object->if_contains(key);
    if (directive == "replace") {
      json::value whole = without_directives(patch);
      target = std::move(whole.get_array());
      return {};
    }
    if (identity == nullptr) {
      return bad_request(fmt::format(
          "strategic merge patch: an item of {} lacks \"{}\", by which the list is merged", name,
          key));
    }
    json::value* present = find_by_key(target, key, *identity);
    if (directive == "delete") {
      if (present != nullptr) target.erase(present);
    } else if (present == nullptr) {
      target.push_back(without_directives(item));
    } else if (present->is_object()) {
      SLUICE_RETURN_IF_ERROR(merge_object(schema.items, present->get_object(), *object));
    }
  }
  return {};
}

void merge_values(json::array& target, const json::array& patch) {
  for (const json::value& item : patch) {
    if (std::ranges::none_of(target, [&](const json::value& v) { return same_json(v, item); })) {
      target.push_back(item);
    }
  }
}

void delete_values(json::object& target, std::string_view name, const json::value& values) {
  json::value* list = target.if_contains(name);
  if (list == nullptr || !list->is_array() || !values.is_array()) return;
  auto& items = list->get_array();
  for (const json::value& gone : values.get_array()) {
    for (auto at = items.begin(); at != items.end();) {
      at = same_json(*at, gone) ? items.erase(at) : std::next(at);
    }
  }
}

// Items that the order names come in its order, behind those it does not name.
void set_order(const Schema* schema, json::object& target, std::string_view name,
               const json::value& order) {
  json::value* list = target.if_contains(name);
  const auto* wanted = order.if_array();
  if (list == nullptr || !list->is_array() || wanted == nullptr || !merges(schema)) return;
  const auto place = [&](const json::value& item) {
    for (size_t i = 0; i < wanted->size(); ++i) {
      const auto* by = (*wanted)[i].if_object();
      const auto* object = item.if_object();
      if (by == nullptr || object == nullptr || schema->keys.empty()) {
        if (same_json((*wanted)[i], item)) return static_cast<ptrdiff_t>(i);
        continue;
      }
      const json::value* a = by->if_contains(schema->keys.front());
      const json::value* b = object->if_contains(schema->keys.front());
      if (a != nullptr && b != nullptr && same_json(*a, *b)) return static_cast<ptrdiff_t>(i);
    }
    return ptrdiff_t{-1};
  };
  auto& items = list->get_array();
  std::multimap<ptrdiff_t, json::value> placed;
  for (json::value& item : items) {
    const ptrdiff_t at = place(item);
    placed.emplace(at, std::move(item));
  }
  size_t next = 0;
  for (auto& [at, item] : placed) items[next++] = std::move(item);
}

ApiOutcome merge_member(const Schema* schema, json::object& target, std::string_view key,
                        const json::value& change) {
  json::value* present = target.if_contains(key);
  if (const auto* object = change.if_object()) {
    if (present == nullptr || !present->is_object()) {
      if (text_at(*object, kPatch) == "delete") return {};
      target[key] = without_directives(change);
      return {};
    }
    if (text_at(*object, kPatch) == "delete") {
      target.stable_erase(target.find(key));
      return {};
    }
    return merge_object(schema, present->get_object(), *object);
  }
  const auto* list = change.if_array();
  if (list == nullptr || !merges(schema) || present == nullptr || !present->is_array()) {
    target[key] = without_directives(change);
    return {};
  }
  if (schema->list == ListKind::kMap) {
    return merge_keyed(*schema, present->get_array(), *list, key);
  }
  merge_values(present->get_array(), *list);
  return {};
}

ApiOutcome merge_object(const Schema* schema, json::object& target, const json::object& patch) {
  if (text_at(patch, kPatch) == "replace") {
    json::value whole = without_directives(patch);
    target = std::move(whole.get_object());
    return {};
  }
  if (const json::value* keep = patch.if_contains(kRetainKeys); keep != nullptr) {
    const auto* names = keep->if_array();
    if (names == nullptr) return bad_request("strategic merge patch: $retainKeys is a list");
    for (auto at = target.begin(); at != target.end();) {
      const bool kept = std::ranges::any_of(*names, [&](const json::value& name) {
        return name.is_string() && std::string_view(name.get_string()) == at->key();
      });
      at = kept ? std::next(at) : target.stable_erase(at);
    }
  }
  for (const auto& [key, change] : patch) {
    const std::string_view name = key;
    if (name.starts_with(kDeleteValues)) {
      delete_values(target, name.substr(kDeleteValues.size()), change);
    } else if (is_directive(name)) {
      continue;
    } else if (change.is_null()) {
      const auto at = target.find(key);
      if (at != target.end()) target.stable_erase(at);
    } else {
      SLUICE_RETURN_IF_ERROR(merge_member(member_of(schema, name), target, name, change));
    }
  }
  for (const auto& [key, order] : patch) {
    const std::string_view name = key;
    if (!name.starts_with(kOrder)) continue;
    const std::string_view list = name.substr(kOrder.size());
    set_order(member_of(schema, list), target, list, order);
  }
  return {};
}

}  // namespace

ApiOutcome apply_strategic_patch(const Schema& schema, json::object& target,
                                 const json::object& patch) {
  return merge_object(&schema, target, patch);
}

}  // namespace sluice::control
