#include "control/field_set.h"

#include <fmt/format.h>

#include <utility>

namespace sluice::control {
namespace {

constexpr size_t kMaxDepth = 64;

std::string readable(const std::string& element) {
  const std::string_view text = element;
  if (text.starts_with("f:")) return fmt::format(".{}", text.substr(2));
  return fmt::format("[{}]", text.substr(2));
}

Outcome read(const json::value& value, FieldSet& out, size_t depth) {
  const auto* object = value.if_object();
  if (object == nullptr) return invalid("fieldsV1: expected objects all the way down");
  if (depth > kMaxDepth) return invalid("fieldsV1: nested too deep");
  if (object->empty()) {
    out.set_self(true);
    return {};
  }
  for (const auto& [key, child] : *object) {
    const std::string_view element = key;
    if (element == ".") {
      out.set_self(true);
      continue;
    }
    if (!element.starts_with("f:") && !element.starts_with("k:") && !element.starts_with("v:")) {
      return invalid(fmt::format(
          "fieldsV1: expected \".\" or a key that begins with f:, k: or v:, found \"{}\"",
          element.substr(0, 64)));
    }
    SLUICE_RETURN_IF_ERROR(read(child, out.child(std::string(element)), depth + 1));
  }
  return {};
}

}  // namespace

const FieldSet* FieldSet::find(std::string_view element) const {
  const auto found = children_.find(element);
  return found == children_.end() ? nullptr : &found->second;
}

void FieldSet::erase(std::string_view element) {
  const auto found = children_.find(element);
  if (found != children_.end()) children_.erase(found);
}

void FieldSet::prune() {
  for (auto at = children_.begin(); at != children_.end();) {
    at->second.prune();
    at = at->second.empty() ? children_.erase(at) : std::next(at);
  }
}

void FieldSet::add(const FieldSet& other) {
  self_ = self_ || other.self_;
  for (const auto& [element, child] : other.children_) children_[element].add(child);
}

void FieldSet::remove(const FieldSet& other) {
  if (other.self_) self_ = false;
  for (const auto& [element, child] : other.children_) {
    const auto mine = children_.find(element);
    if (mine == children_.end()) continue;
    mine->second.remove(child);
    if (mine->second.empty()) children_.erase(mine);
  }
}

FieldSet FieldSet::intersection(const FieldSet& other) const {
  FieldSet both;
  both.self_ = self_ && other.self_;
  for (const auto& [element, child] : children_) {
    const FieldSet* theirs = other.find(element);
    if (theirs == nullptr) continue;
    FieldSet shared = child.intersection(*theirs);
    if (!shared.empty()) both.children_.emplace(element, std::move(shared));
  }
  return both;
}

std::vector<std::string> FieldSet::paths(size_t limit) const {
  std::vector<std::string> out;
  collect_paths({}, limit, out);
  return out;
}

void FieldSet::collect_paths(const std::string& prefix, size_t limit,
                             std::vector<std::string>& out) const {
  if (self_ && !prefix.empty() && out.size() < limit) out.push_back(prefix);
  for (const auto& [element, child] : children_) {
    if (out.size() >= limit) return;
    child.collect_paths(prefix + readable(element), limit, out);
  }
}

json::object FieldSet::to_json() const {
  json::object out;
  if (children_.empty()) return out;
  if (self_) out["."] = json::object();
  for (const auto& [element, child] : children_) out[element] = child.to_json();
  return out;
}

Result<FieldSet> FieldSet::from_json(const json::value& value) {
  FieldSet set;
  SLUICE_RETURN_IF_ERROR(read(value, set, 0));
  // The root is no field.
  set.set_self(false);
  return set;
}

std::string member_element(std::string_view key) { return fmt::format("f:{}", key); }

std::string value_element(const json::value& value) {
  return fmt::format("v:{}", json::serialize(value));
}

std::string item_element(const Schema& list, const json::value& item) {
  const auto* object = item.if_object();
  if (object == nullptr) return {};
  std::map<std::string, const json::value*> parts;
  for (const std::string& key : list.keys) {
    if (const json::value* part = object->if_contains(key)) parts.emplace(key, part);
  }
  json::object keys;
  for (const auto& [key, part] : parts) keys[key] = *part;
  return fmt::format("k:{}", json::serialize(keys));
}

}  // namespace sluice::control
