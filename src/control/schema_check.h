// Objects against their schema: unknown fields, wrong values, defaults. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "control/api_error.h"
#include "control/schema.h"

namespace sluice::control {

// What was found. Fields are named as a user writes them: spec.predictor.model.args[0].
struct SchemaReport {
  std::vector<std::string> unknown;  // fields that no schema names
  std::vector<Cause> causes;         // values that are not accepted
  std::vector<std::string> ignored;  // whole warnings for fields that have no effect
};

// Removes fields that the schema does not name, and nulls; reports the former.
void prune(const Schema& schema, json::object& object, SchemaReport& report);
// Types, bounds, enumerations, required and refused fields, keys of lists; fields without effect.
void check(const Schema& schema, const json::object& object, SchemaReport& report);
// As check(), of a part of an object: nothing is required.
void check_part(const Schema& schema, const json::object& object, SchemaReport& report);
void fill_defaults(const Schema& schema, json::object& object);

}  // namespace sluice::control
