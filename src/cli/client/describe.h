// An object told in full: its fields, what happened to it, and of a service its revisions and
// replicas.
#pragma once

#include <string>

#include "base/status.h"
#include "cli/client/commands_kit.h"

namespace sluice::cli {

Result<std::string> describe_object(ApiClient& api, const Place& place);

// The object alone, its fields under names in words ("Storage Uri"). Secret data is told by its
// size. Pure.
std::string described(const json::object& object, bool secret);

}  // namespace sluice::cli
