// JsonFields: typed reading of a JSON object's members. As with GgufFields, the first thing that is
// wrong is kept and every later read yields nothing. A member that is null counts as absent.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "formats/ranges.h"

namespace sluice::formats {

class JsonFields {
 public:
  // `object` must outlive this. `where` stands before a member's name in messages.
  JsonFields(const json::object& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  const json::value* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const json::object& whole() const { return object_; }

  std::optional<int> integer(std::string_view key, IntRange range);
  int required_integer(std::string_view key, IntRange range);
  std::optional<float> number(std::string_view key);  // finite
  std::optional<bool> boolean(std::string_view key);
  std::optional<std::string> text(std::string_view key);
  std::vector<float> numbers(std::string_view key, size_t max_count);
  std::vector<std::string> texts(std::string_view key, size_t max_count);
  // One integer or an array of them.
  std::vector<int32_t> integers(std::string_view key, size_t max_count, IntRange range);
  const json::object* object(std::string_view key);

  void refuse(std::string_view key, std::string why);
  void refuse(Status status);
  Outcome outcome() const;

 private:
  const json::array* array(std::string_view key, size_t max_count);

  const json::object& object_;
  std::string where_;
  std::optional<Status> problem_;
};

}  // namespace sluice::formats
