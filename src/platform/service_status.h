// ServiceStatus: an InferenceService's status in KServe's words, from what its components are.
//
// Pure functions; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "control/object_store.h"
#include "platform/names.h"
#include "platform/process_sharing.h"
#include "platform/rollout.h"
#include "platform/views.h"

namespace sluice::platform {

// A component of a service, or a canary of its predictor.
struct ComponentFacts {
  Component kind = Component::kPredictor;
  std::string branch = {};           // of a canary
  int branch_percent = 0;            // of a canary: wanted
  control::ObjectPtr latest = {};    // of the present spec; null: it cannot be made
  std::optional<Status> error = {};  // why
  Rollout rollout = {};
  std::vector<RevisionWeight> weights = {};        // RolloutDecision's
  std::vector<control::ObjectPtr> revisions = {};  // of this component, by generation
  std::vector<control::ObjectPtr> replicas = {};   // of these that are not being deleted
};

// The condition that tells with whom a service shares its process.
inline constexpr std::string_view kProcessShared = "ProcessShared";

struct ServiceFacts {
  control::ObjectPtr service = {};
  bool stopped = false;
  bool has_transformer = false;  // built in ones too
  bool has_explainer = false;
  std::vector<ComponentFacts> components = {};  // the predictor first
  std::vector<ComponentFacts> canaries = {};
  int capacity = 0;                       // replicas that the whole traffic needs, at the last look
  std::string url = {};                   // where clients reach it
  std::string plan_problem = {};          // why the gateway cannot serve it; empty: it can
  bool in_force = true;                   // every gateway has its route
  std::optional<Condition> sharing = {};  // kProcessShared, of one that asks for it
  std::string leader = {};                // of its group; empty: it has none
  std::vector<ShareClaim> claims = {};
  double now = 0;
};

// Whether a revision may be given requests: it has a replica, or it sleeps and will wake.
bool may_serve(const control::StoredObject& revision);

json::object service_status(const ServiceFacts& facts);

// What of the traffic each revision gets, canaries apart: sums to 100 with the canaries'.
std::vector<RevisionWeight> shown_traffic(const ServiceFacts& facts);
// A canary's percent: 0 while none of its revisions may serve.
int canary_percent(const ComponentFacts& canary);
// The revision that serves a component that is not split; empty: none.
std::string serving_revision(const ComponentFacts& facts);

}  // namespace sluice::platform
