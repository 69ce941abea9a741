// Typed access to the fields of tokenizer.json, with messages that name the field. For the
// tokenizer_json*.cc files only.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "text/tokenizer_spec.h"

namespace sluice::text {

// The field's value; nullptr when it is absent or null.
inline const json::value* find_field(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

inline std::unexpected<Status> wrong_kind(std::string_view key, std::string_view expected,
                                          const json::value& found) {
  return invalid(fmt::format("\"{}\" is {}; expected {}", key, json_kind(found), expected));
}

inline Result<bool> bool_field(const json::object& object, std::string_view key, bool absent) {
  const json::value* value = find_field(object, key);
  if (value == nullptr) return absent;
  if (!value->is_bool()) return wrong_kind(key, "true or false", *value);
  return value->get_bool();
}

inline Result<std::string> string_field(const json::object& object, std::string_view key,
                                        std::string_view absent) {
  const json::value* value = find_field(object, key);
  if (value == nullptr) return std::string(absent);
  if (!value->is_string()) return wrong_kind(key, "a string", *value);
  return std::string(value->get_string());
}

inline Result<int64_t> int_field(const json::object& object, std::string_view key, int64_t absent) {
  const json::value* value = find_field(object, key);
  if (value == nullptr) return absent;
  if (!value->is_int64()) return wrong_kind(key, "an integer", *value);
  return value->get_int64();
}

// The field as an object; nullptr when it is absent or null.
inline Result<const json::object*> object_field(const json::object& object, std::string_view key) {
  const json::value* value = find_field(object, key);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) return wrong_kind(key, "an object", *value);
  return &value->get_object();
}

// The parts of the file, each in its own source. `root` is the whole object.
Outcome parse_json_model(const json::object& root, TokenizerSpec& spec);
Outcome parse_json_normalizers(const json::object& root, TokenizerSpec& spec);
Outcome parse_json_pre_tokenizers(const json::object& root, TokenizerSpec& spec);
Outcome parse_json_decoders(const json::object& root, TokenizerSpec& spec);

// Flattens a stage with its nested "Sequence"s: visits each other stage with its type. `what` names
// the sort of stage ("normalizer"), `list` the field of a Sequence that holds its members.
template <typename Visit>
Outcome each_stage(const json::object& root, std::string_view what, std::string_view list,
                   Visit visit);

inline constexpr size_t kMaxStages = 64;
inline constexpr int kMaxStageDepth = 8;

namespace json_fields_detail {

template <typename Visit>
Outcome walk_stages(const json::object& stage, std::string_view what, std::string_view list,
                    int depth, size_t& count, const Visit& visit) {
  SLUICE_ASSIGN_OR_RETURN(const std::string type, string_field(stage, "type", ""));
  if (++count > kMaxStages || depth > kMaxStageDepth) {
    return invalid(fmt::format("the {} has more than {} stages or nests them more than {} deep",
                               what, kMaxStages, kMaxStageDepth));
  }
  if (type != "Sequence") return visit(stage, type);
  const json::value* members = find_field(stage, list);
  if (members == nullptr || !members->is_array()) {
    return invalid(fmt::format("a Sequence {} has no list \"{}\"", what, list));
  }
  for (const json::value& member : members->get_array()) {
    if (!member.is_object()) return wrong_kind(list, "a list of objects", member);
    SLUICE_RETURN_IF_ERROR(walk_stages(member.get_object(), what, list, depth + 1, count, visit));
  }
  return {};
}

}  // namespace json_fields_detail

template <typename Visit>
Outcome each_stage(const json::object& root, std::string_view what, std::string_view list,
                   Visit visit) {
  SLUICE_ASSIGN_OR_RETURN(const json::object* stage, object_field(root, what));
  if (stage == nullptr) return {};
  size_t count = 0;
  return json_fields_detail::walk_stages(*stage, what, list, 0, count, visit);
}

inline std::unexpected<Status> unsupported_stage(std::string_view what, std::string_view type,
                                                 std::string_view known) {
  return fail(Code::kUnimplemented, fmt::format("the {} \"{}\" is not supported; known are: {}",
                                                what, type.substr(0, 80), known));
}

}  // namespace sluice::text
