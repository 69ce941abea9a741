// JsonFields: reads the members of one JSON object within bounds. The first mistake is kept; a
// member that nobody asked for is one. Names the field, what was expected and what was found. Holds
// no copy: the value outlives it. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/status.h"

namespace sluice::process {

class JsonFields {
 public:
  // `where` stands before the names of fields: "replica." or nothing.
  JsonFields(const json::value& value, std::string where);

  // Each leaves `out` as it is when the field is not there.
  void text(std::string_view name, std::string& out, size_t max_bytes);
  void boolean(std::string_view name, bool& out);
  void integer(std::string_view name, int64_t& out, int64_t low, int64_t high);
  void integer(std::string_view name, int& out, int low, int high);
  void unsigned_integer(std::string_view name, uint64_t& out, uint64_t high);
  void number(std::string_view name, double& out, double low, double high);
  // Whole milliseconds.
  void milliseconds(std::string_view name, Duration& out, Duration high);
  void texts(std::string_view name, std::vector<std::string>& out, size_t max_items,
             size_t max_bytes);

  // The field of any kind, or null.
  const json::value* find(std::string_view name);
  const json::array* list(std::string_view name, size_t max_items);
  void require(std::string_view name);
  void problem(std::string_view name, std::string_view what);
  // Of an object inside this one.
  void take(const Outcome& inner);

  std::string path(std::string_view name) const { return where_ + std::string(name); }

  // The first mistake, or that a member is left over.
  Outcome finish();

 private:
  void expected(std::string_view name, std::string_view what, const json::value& found);

  const json::object* object_;  // null: the value was none
  const std::string where_;
  std::vector<std::string_view> asked_;
  std::optional<Status> first_;
};

}  // namespace sluice::process
