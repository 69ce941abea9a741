#include <fmt/format.h>

#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "control/json_util.h"
#include "control/limits.h"
#include "control/patch.h"

namespace sluice::control {
namespace {

using Pointer = std::vector<std::string>;

std::unexpected<ApiError> failed(size_t index, std::string_view why) {
  return std::unexpected(
      ApiError(422, "Invalid", fmt::format("JSON patch: operation {}: {}", index, why)));
}

// RFC 6901.
std::optional<Pointer> parse_pointer(std::string_view text) {
  Pointer steps;
  if (text.empty()) return steps;
  if (text.front() != '/') return std::nullopt;
  std::string step;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '/') {
      steps.push_back(std::move(step));
      step.clear();
    } else if (text[i] == '~') {
      ++i;
      if (i == text.size() || (text[i] != '0' && text[i] != '1')) return std::nullopt;
      step += text[i] == '0' ? '~' : '/';
    } else {
      step += text[i];
    }
  }
  steps.push_back(std::move(step));
  return steps;
}

std::optional<size_t> parse_index(std::string_view text) {
  size_t index = 0;
  if (text.empty() || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return index;
}

json::value* step_into(json::value& at, const std::string& step) {
  if (auto* object = at.if_object()) return object->if_contains(step);
  if (auto* list = at.if_array()) {
    const auto index = parse_index(step);
    return index && *index < list->size() ? &(*list)[*index] : nullptr;
  }
  return nullptr;
}

json::value* find(json::value& root, const Pointer& pointer, size_t steps) {
  json::value* at = &root;
  for (size_t i = 0; i < steps && at != nullptr; ++i) at = step_into(*at, pointer[i]);
  return at;
}

bool add(json::value& root, const Pointer& pointer, json::value value) {
  if (pointer.empty()) {
    root = std::move(value);
    return true;
  }
  json::value* parent = find(root, pointer, pointer.size() - 1);
  if (parent == nullptr) return false;
  const std::string& last = pointer.back();
  if (auto* object = parent->if_object()) {
    (*object)[last] = std::move(value);
    return true;
  }
  auto* list = parent->if_array();
  if (list == nullptr) return false;
  if (last == "-") {
    list->push_back(std::move(value));
    return true;
  }
  const auto index = parse_index(last);
  if (!index || *index > list->size()) return false;
  list->insert(list->begin() + *index, std::move(value));
  return true;
}

bool remove(json::value& root, const Pointer& pointer) {
  if (pointer.empty()) return false;
  json::value* parent = find(root, pointer, pointer.size() - 1);
  if (parent == nullptr) return false;
  if (auto* object = parent->if_object()) {
    const auto at = object->find(pointer.back());
    if (at == object->end()) return false;
    object->stable_erase(at);
    return true;
  }
  auto* list = parent->if_array();
  const auto index = parse_index(pointer.back());
  if (list == nullptr || !index || *index >= list->size()) return false;
  list->erase(list->begin() + *index);
  return true;
}

ApiOutcome move_or_copy(json::value& target, const json::object& operation, const Pointer& path,
                        size_t index, bool take) {
  const auto from = parse_pointer(text_at(operation, "from"));
  if (!from || operation.if_contains("from") == nullptr) {
    return failed(index, "\"from\" must be a JSON pointer");
  }
  json::value* source = find(target, *from, from->size());
  if (source == nullptr) return failed(index, "\"from\" points at nothing");
  if (take && path.size() > from->size() && std::equal(from->begin(), from->end(), path.begin())) {
    return failed(index, "a value cannot be moved into itself");
  }
  json::value value = *source;
  if (take && !remove(target, *from)) return failed(index, "the whole object cannot be moved");
  if (!add(target, path, std::move(value))) return failed(index, "\"path\" points at nothing");
  return {};
}

ApiOutcome apply_one(json::value& target, const json::object& operation, size_t index) {
  const std::string_view name = text_at(operation, "op");
  const auto path = parse_pointer(text_at(operation, "path"));
  const json::value* stated = operation.if_contains("path");
  if (!path || stated == nullptr || !stated->is_string()) {
    return failed(index, "\"path\" must be a JSON pointer such as /spec/predictor/minReplicas");
  }
  const std::string shown_path(stated->get_string());
  const json::value* value = operation.if_contains("value");
  if ((name == "add" || name == "replace" || name == "test") && value == nullptr) {
    return failed(index, "\"value\" is missing");
  }
  if (name == "add") {
    if (add(target, *path, *value)) return {};
    return failed(index, fmt::format("the parent of {} does not exist", shown_path));
  }
  if (name == "remove") {
    if (remove(target, *path)) return {};
    return failed(index, fmt::format("{} does not exist", shown_path));
  }
  json::value* present = find(target, *path, path->size());
  if (name == "replace") {
    if (present == nullptr) return failed(index, fmt::format("{} does not exist", shown_path));
    *present = *value;
    return {};
  }
  if (name == "test") {
    if (present != nullptr && same_json(*present, *value)) return {};
    if (present == nullptr && value->is_null()) return {};
    return failed(index, fmt::format("testing {} failed: it holds something else", shown_path));
  }
  if (name == "move" || name == "copy") {
    return move_or_copy(target, operation, *path, index, name == "move");
  }
  return failed(index, "\"op\" must be add, remove, replace, move, copy or test");
}

}  // namespace

ApiOutcome apply_json_patch(json::value& target, const json::value& patch) {
  const auto* operations = patch.if_array();
  if (operations == nullptr) return bad_request("a JSON patch is a list of operations");
  if (operations->size() > limits::kMaxPatchOperations) {
    return std::unexpected(
        ApiError(413, "RequestEntityTooLarge",
                 fmt::format("a JSON patch may have at most {} operations, this one has {}",
                             limits::kMaxPatchOperations, operations->size())));
  }
  // What copies can make of a small patch is bounded by the bytes that they copy.
  size_t copied = 0;
  for (size_t i = 0; i < operations->size(); ++i) {
    const auto* operation = (*operations)[i].if_object();
    if (operation == nullptr) return failed(i, "is no object");
    if (text_at(*operation, "op") == "copy") {
      copied += json::serialize(target).size();
      if (copied > 16 * limits::kMaxObjectBytes) {
        return failed(i, "this patch copies too much");
      }
    }
    SLUICE_RETURN_IF_ERROR(apply_one(target, *operation, i));
  }
  return {};
}

void apply_merge_patch(json::value& target, const json::value& patch) {
  const auto* changes = patch.if_object();
  if (changes == nullptr) {
    target = patch;
    return;
  }
  if (!target.is_object()) target = json::object();
  auto& object = target.get_object();
  for (const auto& [key, value] : *changes) {
    if (value.is_null()) {
      const auto at = object.find(key);
      if (at != object.end()) object.stable_erase(at);
    } else {
      apply_merge_patch(object[key], value);
    }
  }
}

}  // namespace sluice::control
