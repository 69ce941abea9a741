// The scale subresource: an object as autoscaling/v1 Scale, and back. Pure functions.
#pragma once

#include "base/json.h"
#include "control/api_error.h"
#include "control/resource_types.h"

namespace sluice::control {

json::object scale_of(const ResourceType& type, const json::object& object);
// Pins minimum and maximum to the number, so that "scale to 3" means 3. Zero only lowers the
// minimum: the service then sleeps when idle and wakes on demand.
ApiOutcome set_scale(const ResourceType& type, json::object& object, const json::object& scale);

}  // namespace sluice::control
