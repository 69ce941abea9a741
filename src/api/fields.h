// Fields: reads a JSON object's members by name, with type and range checks whose errors name the
// field, what was expected and what was found. JSON null counts as absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace sluice::api {

struct NumberRange {
  double min;
  double max;
  bool min_excluded = false;
};

struct IntegerRange {
  int64_t min;
  int64_t max;
};

// A view: the object must outlive it.
class Fields {
 public:
  // `path` is put before names in messages: "messages[2].".
  explicit Fields(const json::object& object, std::string path = {})
      : object_(object), path_(std::move(path)) {}

  // nullptr when absent or null.
  const json::value* find(std::string_view name) const;

  Result<std::optional<double>> number(std::string_view name, NumberRange range) const;
  Result<std::optional<int64_t>> integer(std::string_view name, IntegerRange range) const;
  Result<std::optional<bool>> boolean(std::string_view name) const;
  Result<std::optional<std::string>> string(std::string_view name, size_t max_bytes) const;
  // A string or an array of strings.
  Result<std::vector<std::string>> strings(std::string_view name, size_t max_count,
                                           size_t max_bytes) const;
  Result<std::vector<int32_t>> token_ids(std::string_view name, size_t max_count) const;
  Result<const json::object*> object(std::string_view name) const;  // nullptr when absent
  Result<const json::array*> array(std::string_view name, size_t max_count) const;

  // "'path.name' must be EXPECTED, not FOUND".
  Status mistyped(std::string_view name, std::string_view expected, const json::value& found) const;
  std::string path(std::string_view name) const { return path_ + std::string(name); }

 private:
  const json::object& object_;
  std::string path_;
};

// Each element a token id from 0 to 2^31-1.
Result<std::vector<int32_t>> read_token_ids(const json::array& array, std::string_view path);

// Parses a request body that must be a JSON object.
Result<json::object> parse_body(std::string_view body);

}  // namespace sluice::api
