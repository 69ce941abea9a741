// Admission: what a schema cannot say about an object. Every complaint names the field, what was
// expected, and what to do.
//
// Pure functions; other objects are asked for through a lookup.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "control/access.h"
#include "control/api_error.h"
#include "control/resource_types.h"

namespace sluice::control {

struct AdmissionPolicy {
  // Programs that edit may let replicas run: a name, or a whole path. Others need admin.
  std::vector<std::string> allowed_commands = {"sluice"};
};

// Of an InferenceService's spec: what keeps its predictor from sharing a process with others.
struct SharingObstacle {
  std::string_view field;
  std::string_view why;
};
inline constexpr std::array<SharingObstacle, 5> kSharingObstacles = {{
    {"canary", "its branches run processes of their own"},
    {"predictor.canaryTrafficPercent", "a new revision takes over for all of a process at once"},
    {"sluice.rollout", "a new revision takes over for all of a process at once"},
    {"transformer.containers", "it is woken together with a predictor of its own"},
    {"explainer.containers", "it runs together with a predictor of its own"},
}};
// The first that the spec has; null: none.
const SharingObstacle* sharing_obstacle(const json::object& service_spec);

// Whether an object is there.
using Lookup =
    std::function<bool(const ResourceType& type, std::string_view ns, std::string_view name)>;

struct Admission {
  const ResourceType& type;
  const Identity& who;
  const AdmissionPolicy& policy;
  const Lookup& exists;
  const json::object* before = nullptr;  // null: new
  json::object& object;                  // may be completed
  std::vector<Cause> causes = {};
  std::vector<std::string> warnings = {};

  std::string_view ns() const;
  void refuse(std::string_view reason, std::string field, std::string message);
  void warn(std::string message);
};

// Complaints go to `causes`; a failure is one that is about permission.
ApiOutcome admit(Admission& admission);

// By kind; called by admit().
ApiOutcome admit_inference_service(Admission& admission);
ApiOutcome admit_runtime(Admission& admission);
void admit_graph(Admission& admission);
void admit_secret(Admission& admission);
void admit_config_map(Admission& admission);
void admit_provider(Admission& admission);
void admit_tenant(Admission& admission);
void admit_api_key(Admission& admission);

// Labels and annotations, of an object or of the replicas that it asks for.
void check_labels(Admission& admission, const json::object* labels, const std::string& field);
void check_annotations(Admission& admission, const json::object* annotations,
                       const std::string& field);

// Moves stringData, which is written only, to data.
void fold_string_data(json::object& secret);

// Commands off the allow-list, and variables that decide what a program loads, need admin.
ApiOutcome check_containers(Admission& admission, const json::array& containers,
                            const std::string& field);
ApiOutcome check_container(Admission& admission, const json::object& container,
                           const std::string& field);

// The InferenceService that does what an LLMInferenceService asks for, as YAML.
std::string equivalent_inference_service(const json::object& llm_service);

}  // namespace sluice::control
