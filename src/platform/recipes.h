// Recipes: how a component of an InferenceService becomes a Revision's spec, and a Revision what a
// replica is started with: runtimes, Secrets and the model's place looked up and handed to
// revision_spec and replica_template.
//
// Any thread, when `models` is.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "control/object_store.h"
#include "platform/model_checks.h"
#include "platform/model_store.h"
#include "platform/names.h"
#include "platform/replica_template.h"
#include "process/replica_spec.h"

namespace sluice::platform {

struct RecipeOptions {
  std::string sluice_program;   // what "sluice" means in a command
  std::string master;           // of deployment_secrets()
  std::string gateway = {};     // host:port where replicas reach it
  CheckModel check_model = {};  // null: models are not looked into
};

// Where a model lies; see ModelStore::want().
using WantModel = std::function<ModelView(const std::string& uri, const std::string& token)>;

class Recipes {
 public:
  Recipes(const control::ObjectStore& store, WantModel models, RecipeOptions options)
      : store_(store),
        models_(std::move(models)),
        options_(std::move(options)),
        checks_(options_.check_model) {}

  // Failures have KServe's word as reason(): NoSupportingRuntime, InvalidPredictorSpec, …
  Result<json::object> revision(const control::StoredObject& service, const json::object& component,
                                Component kind, const std::string& branch) const;

  // Ready with an empty path where the revision names no model, or several: of these, how far all
  // are together.
  ModelView model(const control::StoredObject& revision) const;
  // The same of a spec that may become a revision of the namespace.
  ModelView model(const json::object& revision_spec, const std::string& ns) const;
  // The same, of one model that is for a `sluice serve` with room for `budget` bytes of models:
  // failed where that could not load it.
  ModelView loadable_model(const json::object& revision_spec, const std::string& ns,
                           std::optional<int64_t> budget) const;

  Result<process::ReplicaSpec> replica(const control::StoredObject& revision, std::string id,
                                       std::string model_path) const;

 private:
  FindCore finder(const std::string& ns) const;
  Result<std::vector<PlacedModel>> placed(const control::StoredObject& revision) const;

  const control::ObjectStore& store_;
  const WantModel models_;
  const RecipeOptions options_;
  ModelChecks checks_;
};

}  // namespace sluice::platform
