#include "control/json_util.h"

#include <limits>

namespace sluice::control {
namespace {

constexpr size_t kShownBytes = 80;

std::optional<double> number_of(const json::value& value) {
  if (const auto* i = value.if_int64()) return static_cast<double>(*i);
  if (const auto* u = value.if_uint64()) return static_cast<double>(*u);
  if (const auto* d = value.if_double()) return *d;
  return std::nullopt;
}

bool same_objects(const json::object& a, const json::object& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a) {
    const json::value* other = b.if_contains(key);
    if (other == nullptr || !same_json(value, *other)) return false;
  }
  return true;
}

bool same_arrays(const json::array& a, const json::array& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_json(a[i], b[i])) return false;
  }
  return true;
}

}  // namespace

const json::value* find_member(const json::object& object, std::string_view key) {
  return object.if_contains(key);
}

const json::value* find_path(const json::object& root, std::string_view path) {
  const json::object* at = &root;
  while (true) {
    const size_t dot = path.find('.');
    const json::value* value = at->if_contains(path.substr(0, dot));
    if (value == nullptr || dot == std::string_view::npos) return value;
    at = value->if_object();
    if (at == nullptr) return nullptr;
    path.remove_prefix(dot + 1);
  }
}

json::value* find_path(json::object& root, std::string_view path) {
  return const_cast<json::value*>(find_path(std::as_const(root), path));
}

std::string_view text_at(const json::object& root, std::string_view path) {
  const json::value* value = find_path(root, path);
  if (value == nullptr || !value->is_string()) return {};
  return value->get_string();
}

const json::object* object_at(const json::object& root, std::string_view path) {
  const json::value* value = find_path(root, path);
  return value == nullptr ? nullptr : value->if_object();
}

const json::array* array_at(const json::object& root, std::string_view path) {
  const json::value* value = find_path(root, path);
  return value == nullptr ? nullptr : value->if_array();
}

std::optional<int64_t> integer_at(const json::object& root, std::string_view path) {
  const json::value* value = find_path(root, path);
  if (value == nullptr) return std::nullopt;
  if (const auto* i = value->if_int64()) return *i;
  return std::nullopt;
}

std::optional<double> number_at(const json::object& root, std::string_view path) {
  const json::value* value = find_path(root, path);
  return value == nullptr ? std::nullopt : number_of(*value);
}

bool true_at(const json::object& root, std::string_view path) {
  const json::value* value = find_path(root, path);
  return value != nullptr && value->is_bool() && value->get_bool();
}

json::object& object_of(json::object& object, std::string_view key) {
  json::value& value = object[key];
  if (!value.is_object()) value = json::object();
  return value.get_object();
}

bool same_json(const json::value& a, const json::value& b) {
  if (a.is_object() && b.is_object()) return same_objects(a.get_object(), b.get_object());
  if (a.is_array() && b.is_array()) return same_arrays(a.get_array(), b.get_array());
  if (a.is_int64() && b.is_int64()) return a.get_int64() == b.get_int64();
  const auto x = number_of(a);
  const auto y = number_of(b);
  if (x && y) return *x == *y;
  return a == b;
}

std::string shown(const json::value& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string text = json::serialize(value);
  if (text.size() <= kShownBytes) return text;
  size_t cut = kShownBytes;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return text.substr(0, cut) + "…";
}

}  // namespace sluice::control
