// ReplicaProbes: a Container's probes → those of a ReplicaSpec. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "process/replica_spec.h"

namespace sluice::platform {

// The port that a replica serves at, of a container's list: the first that is called http…, else
// the first of TCP. Nothing when none is declared.
std::optional<int64_t> main_port(const json::object& container);

// Nothing when the container has no such probe, or one that is not made here (exec, gRPC). Refused:
// a port that is not the main one.
Result<std::optional<process::Probe>> replica_probe(const json::object& container,
                                                    std::string_view field);

// Those of a `sluice serve` where the container has none of its own.
void add_sluice_probes(process::ReplicaSpec& spec);

}  // namespace sluice::platform
