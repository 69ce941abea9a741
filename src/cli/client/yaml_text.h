// JSON values as text for people: YAML and JSON in the form that kubectl writes. Pure.
#pragma once

#include <string>

#include "base/json.h"

namespace sluice::cli {

// Block style; texts are quoted where YAML would read them as something else. Members are sorted
// by name, as kubectl has them.
std::string yaml_text(const json::value& value);

// JSON with four blanks for each level and a line end, as kubectl writes it.
std::string pretty_json(const json::value& value);

}  // namespace sluice::cli
