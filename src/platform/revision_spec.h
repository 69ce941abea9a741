// RevisionSpec: what one revision of a component runs: an InferenceService's component over its
// runtime, by KServe's rules, as the JSON of a Revision's `spec`.
//
//   component            predictor | transformer | explainer
//   service              the InferenceService
//   branch               of a canary its name, else absent
//   runtime {kind, name} absent for containers of the service's own
//   modelNames [string]  what the server calls its model; the first is what it is asked for. Absent
//                        where only the server knows
//   storageUri           as the service says
//   container            a Container: runtime's and service's merged; {{.Name}} and the like are
//                        replaced; $(VAR), /mnt/models and references to Secrets are not yet. A
//                        transformer or explainer is given KServe's --model_name, --predictor_host
//                        and --http_port where it has them not
//   serviceAccountName, terminationGracePeriodSeconds, labels, annotations
//   containerConcurrency, timeoutSeconds
//   templateHash         16 hex digits of all else but labels, annotations, branch and source:
//   equal
//                        ones need no new revision
//   source               the component as it was written, without its scale: see template_of()
//
// It holds no secret values: the Revision may be read by everybody. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "platform/names.h"

namespace sluice::platform {

struct ComponentSource {
  const json::object& service;    // the InferenceService, whole
  const json::object& component;  // its PredictorSpec, TransformerSpec or ExplainerSpec
  Component kind = Component::kPredictor;
  std::string branch = {};                // of a canary
  const json::object* runtime = nullptr;  // the chosen runtime, whole; of a model
};

// Whether the component has something to run: an explainer or transformer may be built in.
bool has_replicas(const json::object& component, Component kind);

// Failures are kInvalidArgument with the field as param() and InvalidPredictorSpec as reason().
Result<json::object> revision_spec(const ComponentSource& source);

// A component without what makes no revision: replica counts, scaling, the split, logging.
json::object template_of(const json::object& component);
// `present` with the template of another: its own counts and scaling stay.
json::object with_template(const json::object& present, const json::object& source);

// A fingerprint that does not depend on the order of fields.
std::string template_hash(const json::object& spec);

// The replica is a `sluice serve`: it speaks the internal protocol and takes its socket.
bool is_sluice_serve(const json::object& revision_spec);

}  // namespace sluice::platform
