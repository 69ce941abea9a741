// ReplicaEnvironment: the variables of a replica: envFrom, then env, as Kubernetes resolves them.
//
// Pure functions; any thread.
#pragma once

#include <map>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "platform/replica_template.h"

namespace sluice::platform {

using Environment = std::map<std::string, std::string, std::less<>>;

// Values hold $(VAR) of variables before them resolved; $(PORT) stays, whoever starts the replica
// knows it. Failures: kFailedPrecondition, CreateContainerConfigError, for what is missing;
// kInvalidArgument, InvalidPredictorSpec, for values that grow too long.
Result<Environment> replica_environment(const json::object& container, const FindCore& find);

// A value of a Secret (base64 undone) or ConfigMap (of binaryData too). Nothing when it is not
// there.
std::optional<std::string> value_of_key(const json::object& object, std::string_view key);

}  // namespace sluice::platform
