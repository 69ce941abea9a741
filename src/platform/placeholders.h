// Placeholders in the texts of a container: KServe's {{.Name}}, and Kubernetes' $(VAR).
//
// What they make is bounded: texts that stand for texts that stand for texts would otherwise be
// longer than any machine's memory. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace sluice::platform {

// Of all arguments, or all variables, of one container: no program takes more.
inline constexpr size_t kMaxTextBytes = 1u << 20;

// Replaces {{.Name}}, {{.Namespace}}, {{.Labels.key}}, {{.Annotations.key}} and
// {{index .Labels "key"}} by what `metadata` holds (a missing key: nothing). Other braces stay as
// they are, a chat template's for instance; an unknown {{.Field}} is refused by name.
Result<std::string> fill_placeholders(std::string_view text, const json::object& metadata);

// The same in every string of a value.
Outcome fill_placeholders(json::value& value, const json::object& metadata);

// Replaces $(NAME) where `value_of` knows it; "$$" stands for one "$", which begins nothing. Takes
// the bytes of what it makes from `room`, and fails where that is too small.
Result<std::string> expand_variables(
    std::string_view text,
    const std::function<std::optional<std::string>(std::string_view name)>& value_of, size_t& room);

}  // namespace sluice::platform
