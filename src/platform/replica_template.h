// ReplicaTemplate: a Revision's spec and what stands around it → the ReplicaSpec of one replica.
//
// Everything is resolved here: Secrets and ConfigMaps, $(VAR), /mnt/models, quantities, ports of
// probes, the program's path. Pure functions; other objects are asked for by a lookup.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "control/object_store.h"
#include "process/replica_spec.h"

namespace sluice::platform {

// An object of core/v1 ("Secret", "ConfigMap", "ServiceAccount") of the replica's namespace; null
// when it is not there.
using FindCore = std::function<control::ObjectPtr(std::string_view kind, std::string_view name)>;

// What the gateway shows to a deployment's replicas, and nobody else knows. Plain secrets.
struct DeploymentSecrets {
  std::string internal_token;
  std::string api_key;
};

// Derived from a master secret of the installation (32 bytes at least), so that nothing needs to be
// stored: equal for equal names, and none tells another.
DeploymentSecrets deployment_secrets(std::string_view master, std::string_view ns,
                                     std::string_view revision);

// The path below which a service's predictor answers the service's own transformer and explainer:
// as good as a key.
std::string predictor_path(std::string_view master, std::string_view ns, std::string_view service);

// A model of a revision that several services share.
struct PlacedModel {
  std::string name;
  std::string path;
};

struct ReplicaPlace {
  std::string id;                        // ReplicaSpec::id
  std::string ns;                        // of the revision
  std::string model_path = {};           // where storageUri lies here; empty without one
  std::vector<PlacedModel> models = {};  // of a shared one: the argument /mnt/models is them all
  std::string sluice_program;            // what "sluice" means: this very binary
  DeploymentSecrets secrets = {};        // of a `sluice serve`
  std::string predictor_host = {};       // what $(PREDICTOR_HOST) stands for: host:port and a path
  FindCore find;
};

// Failures: kFailedPrecondition with the reason CreateContainerConfigError where another object or
// a key of it is missing (it may come), kInvalidArgument with InvalidPredictorSpec where the
// revision can never run.
Result<process::ReplicaSpec> replica_template(const json::object& revision_spec,
                                              const ReplicaPlace& place);

// What one replica asks of the machine: its requests, else its limits; 0: not said.
struct ReplicaNeeds {
  uint64_t memory_bytes = 0;
  double cpus = 0;
};
ReplicaNeeds replica_needs(const json::object& revision_spec);

// The token for the hub (HF_TOKEN) of the Secrets of the revision's service account; empty without.
std::string storage_token(const json::object& revision_spec, const FindCore& find);

}  // namespace sluice::platform
