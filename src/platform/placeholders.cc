#include "platform/placeholders.h"

#include <fmt/format.h>

#include <array>

#include "control/json_util.h"

namespace sluice::platform {
namespace {

constexpr size_t kMaxVariableBytes = 1024;  // of $(NAME)

Outcome append(std::string& out, std::string_view part, size_t& room) {
  if (part.size() > room) {
    return fail(Code::kTooLarge,
                fmt::format("with what the placeholders stand for there are more than {} bytes",
                            kMaxTextBytes));
  }
  room -= part.size();
  out.append(part);
  return {};
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

std::string_view label_of(const json::object& metadata, std::string_view map,
                          std::string_view key) {
  const auto* labels = control::object_at(metadata, map);
  const json::value* value = labels == nullptr ? nullptr : control::find_member(*labels, key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : "";
}

struct LabelMap {
  std::string_view field;     // as a placeholder calls it
  std::string_view metadata;  // as the object does
};
constexpr std::array kLabelMaps = {LabelMap{".Labels", "labels"},
                                   LabelMap{".Annotations", "annotations"}};

// index .Labels "key"
std::optional<std::string_view> indexed(std::string_view inside, const json::object& metadata) {
  if (!inside.starts_with("index ")) return std::nullopt;
  inside = trimmed(inside.substr(sizeof("index ") - 1));
  for (const LabelMap& map : kLabelMaps) {
    if (!inside.starts_with(map.field)) continue;
    const std::string_view key = trimmed(inside.substr(map.field.size()));
    if (key.size() < 2 || !key.starts_with('"') || !key.ends_with('"')) return std::nullopt;
    return label_of(metadata, map.metadata, key.substr(1, key.size() - 2));
  }
  return std::nullopt;
}

// What stands between the braces; nothing when it is no placeholder of ours.
Result<std::optional<std::string_view>> filled(std::string_view inside,
                                               const json::object& metadata) {
  if (const auto found = indexed(inside, metadata)) return found;
  if (!inside.starts_with('.')) return std::nullopt;
  if (inside == ".Name") return control::text_at(metadata, "name");
  if (inside == ".Namespace") return control::text_at(metadata, "namespace");
  for (const LabelMap& map : kLabelMaps) {
    if (!inside.starts_with(map.field) || !inside.substr(map.field.size()).starts_with('.')) {
      continue;
    }
    return label_of(metadata, map.metadata, inside.substr(map.field.size() + 1));
  }
  return invalid(fmt::format(
      "the placeholder {{{{{}}}}} is not known: there are .Name, .Namespace, .Labels.KEY and "
      ".Annotations.KEY",
      inside.substr(0, 100)));
}

bool is_variable_name(std::string_view name) {
  return !name.empty() && name.find_first_of(" \t()$") == std::string_view::npos;
}

Result<std::string> fill(std::string_view text, const json::object& metadata, size_t& room) {
  std::string out;
  while (true) {
    const size_t begin = text.find("{{");
    const size_t end = begin == std::string_view::npos ? begin : text.find("}}", begin);
    if (end == std::string_view::npos) {
      SLUICE_RETURN_IF_ERROR(append(out, text, room));
      return out;
    }
    const std::string_view inside = trimmed(text.substr(begin + 2, end - begin - 2));
    SLUICE_ASSIGN_OR_RETURN(const auto value, filled(inside, metadata));
    SLUICE_RETURN_IF_ERROR(append(out, text.substr(0, value ? begin : end + 2), room));
    if (value) SLUICE_RETURN_IF_ERROR(append(out, *value, room));
    text.remove_prefix(end + 2);
  }
}

Outcome fill(json::value& value, const json::object& metadata, size_t& room) {
  if (auto* text = value.if_string()) {
    SLUICE_ASSIGN_OR_RETURN(const std::string filled_text,
                            fill(std::string_view(*text), metadata, room));
    *text = filled_text;
  } else if (auto* list = value.if_array()) {
    for (json::value& each : *list) SLUICE_RETURN_IF_ERROR(fill(each, metadata, room));
  } else if (auto* object = value.if_object()) {
    for (auto& each : *object) SLUICE_RETURN_IF_ERROR(fill(each.value(), metadata, room));
  }
  return {};
}

}  // namespace

Result<std::string> fill_placeholders(std::string_view text, const json::object& metadata) {
  size_t room = kMaxTextBytes;
  return fill(text, metadata, room);
}

Outcome fill_placeholders(json::value& value, const json::object& metadata) {
  size_t room = kMaxTextBytes;
  return fill(value, metadata, room);
}

Result<std::string> expand_variables(
    std::string_view text,
    const std::function<std::optional<std::string>(std::string_view name)>& value_of,
    size_t& room) {
  std::string out;
  while (true) {
    const size_t dollar = text.find('$');
    SLUICE_RETURN_IF_ERROR(append(out, text.substr(0, dollar), room));
    if (dollar == std::string_view::npos) return out;
    text.remove_prefix(dollar);
    if (text.starts_with("$$")) {
      SLUICE_RETURN_IF_ERROR(append(out, "$", room));
      text.remove_prefix(2);
      continue;
    }
    const size_t end = text.starts_with("$(") ? text.substr(0, kMaxVariableBytes).find(')')
                                              : std::string_view::npos;
    const std::string_view name =
        end == std::string_view::npos ? std::string_view() : text.substr(2, end - 2);
    const auto value = is_variable_name(name) ? value_of(name) : std::nullopt;
    if (value) {
      SLUICE_RETURN_IF_ERROR(append(out, *value, room));
      text.remove_prefix(end + 1);
    } else {
      SLUICE_RETURN_IF_ERROR(append(out, "$", room));
      text.remove_prefix(1);
    }
  }
}

}  // namespace sluice::platform
