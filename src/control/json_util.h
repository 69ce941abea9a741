// Reading JSON objects without exceptions, by dotted paths. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace sluice::control {

// "spec.predictor.model" below `root`; null when a step is missing or no object. Keys that hold a
// dot are out of reach; find_member() takes them.
const json::value* find_path(const json::object& root, std::string_view path);
json::value* find_path(json::object& root, std::string_view path);
const json::value* find_member(const json::object& object, std::string_view key);

// Of the wanted kind, or the fallback.
std::string_view text_at(const json::object& root, std::string_view path);
const json::object* object_at(const json::object& root, std::string_view path);
const json::array* array_at(const json::object& root, std::string_view path);
std::optional<int64_t> integer_at(const json::object& root, std::string_view path);
std::optional<double> number_at(const json::object& root, std::string_view path);
bool true_at(const json::object& root, std::string_view path);

// The object under `key`, made when it is missing or something else.
json::object& object_of(json::object& object, std::string_view key);

// Numbers compare by value, whatever their representation; members in any order.
bool same_json(const json::value& a, const json::value& b);

// 42, 1.5, "text" for messages; long ones are cut.
std::string shown(const json::value& value);

}  // namespace sluice::control
