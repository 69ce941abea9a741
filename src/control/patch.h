// The patch kinds of the API: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386), and Kubernetes'
// strategic merge patch. Server-side apply is in managed_fields.h.
//
// Pure functions on foreign values. Fuzz target: control_patch_fuzz.
#pragma once

#include "base/json.h"
#include "control/api_error.h"
#include "control/schema.h"

namespace sluice::control {

// 422 names the operation that could not be done.
ApiOutcome apply_json_patch(json::value& target, const json::value& patch);

void apply_merge_patch(json::value& target, const json::value& patch);

// Lists with patch=merge in the schema are merged by their keys; $patch, $retainKeys,
// $deleteFromPrimitiveList and $setElementOrder are understood.
ApiOutcome apply_strategic_patch(const Schema& schema, json::object& target,
                                 const json::object& patch);

}  // namespace sluice::control
