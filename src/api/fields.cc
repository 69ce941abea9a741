#include "api/fields.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/limits.h"

namespace sluice::api {
namespace {

constexpr double kExactIntegers = 9007199254740992.0;  // 2^53: beyond, doubles skip integers

std::optional<int64_t> as_integer(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (value.is_double()) {
    const double d = value.get_double();
    if (std::trunc(d) == d && std::fabs(d) <= kExactIntegers) return static_cast<int64_t>(d);
  }
  return std::nullopt;
}

std::string shown(const json::value& value) {
  if (value.is_structured() || value.is_string()) return std::string(json_kind(value));
  return to_json(value);
}

std::string range_text(double min, double max) {
  if (max >= static_cast<double>(std::numeric_limits<int32_t>::max())) {
    return fmt::format("{} or more", min);
  }
  return fmt::format("from {} to {}", min, max);
}

}  // namespace

const json::value* Fields::find(std::string_view name) const {
  const json::value* value = object_.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Status Fields::mistyped(std::string_view name, std::string_view expected,
                        const json::value& found) const {
  return Status(Code::kInvalidArgument,
                fmt::format("'{}' must be {}, not {}", path(name), expected, shown(found)),
                path(name));
}

Result<std::optional<double>> Fields::number(std::string_view name, NumberRange range) const {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  const bool excluded = range.min_excluded;
  const std::string expected =
      fmt::format("a number {}{} to {}", excluded ? "above " : "from ", range.min, range.max);
  if (!value->is_number()) return std::unexpected(mistyped(name, expected, *value));
  const double number = value->to_number<double>();
  if (number > range.max || (excluded ? number <= range.min : number < range.min)) {
    return std::unexpected(mistyped(name, expected, *value));
  }
  return number;
}

Result<std::optional<int64_t>> Fields::integer(std::string_view name, IntegerRange range) const {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> integer = as_integer(*value);
  if (!integer || *integer < range.min || *integer > range.max) {
    const std::string expected = range.min == std::numeric_limits<int64_t>::min()
                                     ? "a 64-bit integer"
                                     : "an integer " + range_text(static_cast<double>(range.min),
                                                                  static_cast<double>(range.max));
    return std::unexpected(mistyped(name, expected, *value));
  }
  return integer;
}

Result<std::optional<bool>> Fields::boolean(std::string_view name) const {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) return std::unexpected(mistyped(name, "true or false", *value));
  return value->get_bool();
}

Result<std::optional<std::string>> Fields::string(std::string_view name, size_t max_bytes) const {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return std::unexpected(mistyped(name, "a string", *value));
  const json::string& text = value->get_string();
  if (text.size() > max_bytes) {
    return invalid(
        fmt::format("'{}' must have at most {} bytes, not {}", path(name), max_bytes, text.size()),
        path(name));
  }
  return std::string(text);
}

Result<std::vector<std::string>> Fields::strings(std::string_view name, size_t max_count,
                                                 size_t max_bytes) const {
  std::vector<std::string> out;
  const json::value* value = find(name);
  if (value == nullptr) return out;
  const std::string_view expected = "a string or an array of strings";
  const auto add = [&](const json::value& item) -> Outcome {
    if (!item.is_string()) return std::unexpected(mistyped(name, expected, item));
    const json::string& text = item.get_string();
    if (text.empty() || text.size() > max_bytes) {
      return invalid(fmt::format("each string of '{}' must have 1 to {} bytes, not {}", path(name),
                                 max_bytes, text.size()),
                     path(name));
    }
    out.emplace_back(text);
    return {};
  };
  if (!value->is_array()) {
    SLUICE_RETURN_IF_ERROR(add(*value));
    return out;
  }
  SLUICE_ASSIGN_OR_RETURN(const json::array* items, array(name, max_count));
  for (const json::value& item : *items) SLUICE_RETURN_IF_ERROR(add(item));
  return out;
}

Result<std::vector<int32_t>> Fields::token_ids(std::string_view name, size_t max_count) const {
  SLUICE_ASSIGN_OR_RETURN(const json::array* items, array(name, max_count));
  if (items == nullptr) return std::vector<int32_t>{};
  return read_token_ids(*items, path(name));
}

Result<const json::object*> Fields::object(std::string_view name) const {
  const json::value* value = find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) return std::unexpected(mistyped(name, "an object", *value));
  return &value->get_object();
}

Result<const json::array*> Fields::array(std::string_view name, size_t max_count) const {
  const json::value* value = find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) return std::unexpected(mistyped(name, "an array", *value));
  const json::array& items = value->get_array();
  if (items.size() > max_count) {
    return invalid(fmt::format("'{}' must have at most {} entries, not {}", path(name), max_count,
                               items.size()),
                   path(name));
  }
  return &items;
}

Result<std::vector<int32_t>> read_token_ids(const json::array& array, std::string_view path) {
  std::vector<int32_t> ids;
  ids.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    const std::optional<int64_t> id = as_integer(array[i]);
    if (!id || *id < 0 || *id > std::numeric_limits<int32_t>::max()) {
      return invalid(fmt::format("'{}[{}]' must be a token id (an integer 0 or more), not {}", path,
                                 i, shown(array[i])),
                     std::string(path));
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

Result<json::object> parse_body(std::string_view body) {
  if (body.empty()) return invalid("the request body is empty; expected a JSON object");
  const JsonLimits limits{.max_bytes = limits::kMaxBodyBytes};
  SLUICE_ASSIGN_OR_RETURN(json::value value, parse_json(body, limits));
  if (!value.is_object()) {
    return invalid(fmt::format("the request body must be a JSON object, not {}", json_kind(value)));
  }
  return std::move(value.get_object());
}

}  // namespace sluice::api
