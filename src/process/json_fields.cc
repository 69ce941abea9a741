#include "process/json_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace sluice::process {

JsonFields::JsonFields(const json::value& value, std::string where)
    : object_(value.if_object()), where_(std::move(where)) {
  if (object_ == nullptr) {
    first_ = Status(Code::kInvalidArgument,
                    fmt::format("{}: expected an object, found {}",
                                where_.empty() ? "the file" : where_, json_kind(value)));
  }
}

void JsonFields::problem(std::string_view name, std::string_view what) {
  if (first_) return;
  first_ = Status(Code::kInvalidArgument, fmt::format("{}: {}", path(name), what), path(name));
}

void JsonFields::expected(std::string_view name, std::string_view what, const json::value& found) {
  problem(name, fmt::format("expected {}, found {}", what, json_kind(found)));
}

void JsonFields::take(const Outcome& inner) {
  if (!inner && !first_) first_ = inner.error();
}

const json::value* JsonFields::find(std::string_view name) {
  if (object_ == nullptr) return nullptr;
  asked_.push_back(name);
  return object_->if_contains(name);
}

void JsonFields::require(std::string_view name) {
  if (object_ != nullptr && !object_->contains(name)) problem(name, "it must be there");
}

void JsonFields::text(std::string_view name, std::string& out, size_t max_bytes) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  const json::string* text = value->if_string();
  if (text == nullptr) return expected(name, "a string", *value);
  if (text->size() > max_bytes) {
    return problem(name, fmt::format("has {} bytes; at most {}", text->size(), max_bytes));
  }
  out.assign(text->data(), text->size());
}

void JsonFields::boolean(std::string_view name, bool& out) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  if (!value->is_bool()) return expected(name, "true or false", *value);
  out = value->get_bool();
}

void JsonFields::integer(std::string_view name, int64_t& out, int64_t low, int64_t high) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  json::error_code error;
  const auto number = value->is_double() ? 0 : value->to_number<int64_t>(error);
  if (error || value->is_double() || number < low || number > high) {
    return expected(name, fmt::format("an integer from {} to {}", low, high), *value);
  }
  out = number;
}

void JsonFields::integer(std::string_view name, int& out, int low, int high) {
  int64_t wide = out;
  integer(name, wide, int64_t{low}, int64_t{high});
  out = static_cast<int>(wide);
}

void JsonFields::unsigned_integer(std::string_view name, uint64_t& out, uint64_t high) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  json::error_code error;
  const auto number = value->is_double() ? 0 : value->to_number<uint64_t>(error);
  if (error || value->is_double() || number > high) {
    return expected(name, fmt::format("an integer from 0 to {}", high), *value);
  }
  out = number;
}

void JsonFields::number(std::string_view name, double& out, double low, double high) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  json::error_code error;
  const auto found = value->is_number() ? value->to_number<double>(error) : low - 1;
  if (error || !(found >= low && found <= high)) {
    return expected(name, fmt::format("a number from {} to {}", low, high), *value);
  }
  out = found;
}

void JsonFields::milliseconds(std::string_view name, Duration& out, Duration high) {
  using std::chrono::milliseconds;
  int64_t count = std::chrono::ceil<milliseconds>(out).count();
  integer(name, count, int64_t{0}, std::chrono::floor<milliseconds>(high).count());
  out = milliseconds(count);
}

const json::array* JsonFields::list(std::string_view name, size_t max_items) {
  const json::value* value = find(name);
  if (value == nullptr) return nullptr;
  const json::array* items = value->if_array();
  if (items == nullptr) {
    expected(name, "a list", *value);
  } else if (items->size() > max_items) {
    problem(name, fmt::format("has {} items; at most {}", items->size(), max_items));
    items = nullptr;
  }
  return items;
}

void JsonFields::texts(std::string_view name, std::vector<std::string>& out, size_t max_items,
                       size_t max_bytes) {
  const json::array* items = list(name, max_items);
  if (items == nullptr) return;
  out.clear();
  for (const json::value& item : *items) {
    const json::string* text = item.if_string();
    if (text == nullptr) return expected(name, "strings", item);
    if (text->size() > max_bytes) {
      return problem(name,
                     fmt::format("has an item of {} bytes; at most {}", text->size(), max_bytes));
    }
    out.emplace_back(text->data(), text->size());
  }
}

Outcome JsonFields::finish() {
  if (!first_ && object_ != nullptr) {
    for (const auto& member : *object_) {
      const std::string_view name(member.key().data(), member.key().size());
      if (std::ranges::find(asked_, name) == asked_.end()) {
        problem(name.substr(0, 64), "there is no such field");
        break;
      }
    }
  }
  if (first_) return std::unexpected(*first_);
  return {};
}

}  // namespace sluice::process
