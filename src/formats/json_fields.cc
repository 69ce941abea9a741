#include "formats/json_fields.h"

#include <fmt/format.h>

#include <cmath>

namespace sluice::formats {
namespace {

// An integer, also one written as 8.0; nothing for what is no integer or beyond 64 bits.
std::optional<int64_t> as_integer(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (value.is_uint64()) return INT64_MAX;
  if (value.is_double()) {
    const double d = value.get_double();
    if (std::trunc(d) == d && std::abs(d) < 9e15) return static_cast<int64_t>(d);
  }
  return std::nullopt;
}

std::optional<float> as_float(const json::value& value) {
  if (!value.is_number()) return std::nullopt;
  const auto number = static_cast<float>(value.to_number<double>());
  if (!std::isfinite(number)) return std::nullopt;
  return number;
}

}  // namespace

const json::value* JsonFields::find(std::string_view key) const {
  if (problem_) return nullptr;
  const json::value* value = object_.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void JsonFields::refuse(std::string_view key, std::string why) {
  refuse(Status(Code::kInvalidArgument, fmt::format("{}{}: {}", where_, key, why)));
}

void JsonFields::refuse(Status status) {
  if (!problem_) problem_ = std::move(status);
}

Outcome JsonFields::outcome() const {
  if (problem_) return std::unexpected(*problem_);
  return {};
}

std::optional<int> JsonFields::integer(std::string_view key, IntRange range) {
  const json::value* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto number = as_integer(*value);
  if (!number) {
    refuse(key, fmt::format("expected an integer; found {}", json_kind(*value)));
    return std::nullopt;
  }
  if (*number < range.low || *number > range.high) {
    refuse(key, fmt::format("expected {} to {}; found {}", range.low, range.high, *number));
    return std::nullopt;
  }
  return static_cast<int>(*number);
}

int JsonFields::required_integer(std::string_view key, IntRange range) {
  if (find(key) == nullptr) refuse(key, "an integer is expected; it is missing");
  return integer(key, range).value_or(static_cast<int>(range.low));
}

std::optional<float> JsonFields::number(std::string_view key) {
  const json::value* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto number = as_float(*value);
  if (!number) refuse(key, fmt::format("expected a number; found {}", json_kind(*value)));
  return number;
}

std::optional<bool> JsonFields::boolean(std::string_view key) {
  const json::value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) {
    refuse(key, fmt::format("expected a boolean; found {}", json_kind(*value)));
    return std::nullopt;
  }
  return value->get_bool();
}

std::optional<std::string> JsonFields::text(std::string_view key) {
  const json::value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) {
    refuse(key, fmt::format("expected a string; found {}", json_kind(*value)));
    return std::nullopt;
  }
  return std::string(value->get_string());
}

const json::array* JsonFields::array(std::string_view key, size_t max_count) {
  const json::value* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) {
    refuse(key, fmt::format("expected an array; found {}", json_kind(*value)));
    return nullptr;
  }
  if (value->get_array().size() > max_count) {
    refuse(key, fmt::format("at most {} values are read; found {}", max_count,
                            value->get_array().size()));
    return nullptr;
  }
  return &value->get_array();
}

std::vector<float> JsonFields::numbers(std::string_view key, size_t max_count) {
  const json::array* values = array(key, max_count);
  if (values == nullptr) return {};
  std::vector<float> out;
  for (const json::value& value : *values) {
    const auto number = as_float(value);
    if (!number) {
      refuse(key, fmt::format("expected numbers; found {}", json_kind(value)));
      return {};
    }
    out.push_back(*number);
  }
  return out;
}

std::vector<std::string> JsonFields::texts(std::string_view key, size_t max_count) {
  const json::array* values = array(key, max_count);
  if (values == nullptr) return {};
  std::vector<std::string> out;
  for (const json::value& value : *values) {
    if (!value.is_string()) {
      refuse(key, fmt::format("expected strings; found {}", json_kind(value)));
      return {};
    }
    out.emplace_back(value.get_string());
  }
  return out;
}

std::vector<int32_t> JsonFields::integers(std::string_view key, size_t max_count, IntRange range) {
  const json::value* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) {
    const auto single = integer(key, range);
    return single ? std::vector<int32_t>{*single} : std::vector<int32_t>{};
  }
  const json::array* values = array(key, max_count);
  if (values == nullptr) return {};
  std::vector<int32_t> out;
  for (const json::value& element : *values) {
    const auto number = as_integer(element);
    if (!number || *number < range.low || *number > range.high) {
      refuse(key, fmt::format("expected integers of {} to {}", range.low, range.high));
      return {};
    }
    out.push_back(static_cast<int32_t>(*number));
  }
  return out;
}

const json::object* JsonFields::object(std::string_view key) {
  const json::value* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) {
    refuse(key, fmt::format("expected an object; found {}", json_kind(*value)));
    return nullptr;
  }
  return &value->get_object();
}

}  // namespace sluice::formats
