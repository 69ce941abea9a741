// Which ServingRuntime or ClusterServingRuntime serves a model: by name, or by the model's format,
// version and protocol, as KServe chooses.
//
// Pure functions on objects that are handed in; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "control/api_error.h"
#include "control/object_store.h"

namespace sluice::control {
class Objects;
}

namespace sluice::platform {

// The runtime that is always there: `sluice serve`.
inline constexpr std::string_view kBuiltInRuntime = "sluice";

// The object, as a ClusterServingRuntime.
json::object built_in_runtime();

// Creates it, or puts its specification right: it belongs to the program, not to the user.
control::ApiOutcome ensure_built_in_runtime(control::Objects& objects);

// `model`: a ModelSpec. `of_namespace`: the ServingRuntimes of the service's namespace;
// `of_cluster`: all ClusterServingRuntimes. Never null on success.
//
// Failures are kFailedPrecondition; their reason() is a word of KServe's modelStatus:
// NoSupportingRuntime, RuntimeNotRecognized, RuntimeDisabled. Their message names every candidate
// and why it was not taken.
Result<control::ObjectPtr> choose_runtime(const json::object& model, std::string_view ns,
                                          std::span<const control::ObjectPtr> of_namespace,
                                          std::span<const control::ObjectPtr> of_cluster);

}  // namespace sluice::platform
