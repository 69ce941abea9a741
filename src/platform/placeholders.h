// Placeholders in the texts of a container: KServe's {{.Name}}, and Kubernetes' $(VAR).
//
// Pure functions; any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace sluice::platform {

// Replaces {{.Name}}, {{.Namespace}}, {{.Labels.key}}, {{.Annotations.key}} and
// {{index .Labels "key"}} by what `metadata` holds (a missing key: nothing). Other braces stay as
// they are, a chat template's for instance; an unknown {{.Field}} is refused by name.
Result<std::string> fill_placeholders(std::string_view text, const json::object& metadata);

// The same in every string of a value.
Outcome fill_placeholders(json::value& value, const json::object& metadata);

// Replaces $(NAME) where `value_of` knows it; "$$" stands for one "$", which begins nothing.
std::string expand_variables(
    std::string_view text,
    const std::function<std::optional<std::string>(std::string_view name)>& value_of);

}  // namespace sluice::platform
