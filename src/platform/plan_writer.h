// PlanWriter: objects, ready replicas and weights → the gateway's plan, as JSON text.
//
// Pure: equal input gives equal bytes, in whatever order lists come in, so that "differs" is a
// comparison of texts. What plan_from_json() would refuse is left out and told as a problem: one
// bad object never takes the others' routes away. Secrets stand in files of their own, whose names
// are digests of what they hold. docs/gateway.md has the fields.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/status.h"
#include "control/object_store.h"
#include "platform/rollout.h"

namespace sluice::platform {

struct PlanReplica {
  std::string name;
  std::string url;  // http://host:port
};

struct PlanRevision {
  control::ObjectPtr object;               // a Revision
  std::vector<PlanReplica> replicas = {};  // that may be chosen: ready and not draining
};

// A branch of spec.canary[].
struct PlanCanary {
  std::string branch;
  std::string revision;  // that serves it; empty: none is ready
  int percent = 0;       // 0: reached by the header x-sluice-revision alone
};

struct PlanService {
  control::ObjectPtr object;                   // an InferenceService
  std::vector<RevisionWeight> predictor = {};  // RolloutDecision::weights
  std::string candidate = {};  // reached by "x-sluice-revision: latest" too; may be empty
  std::string stable = {};     // answers for a candidate that fails; may be empty
  std::string previous = {};   // was stable before; may be empty
  std::vector<PlanCanary> canaries = {};
  std::string transformer = {};  // revision that serves it; empty: none runs
  std::string explainer = {};
};

struct PlanInput {
  std::vector<PlanService> services;
  std::vector<PlanRevision> revisions;  // of all components
  std::vector<control::ObjectPtr> graphs;
  std::vector<control::ObjectPtr> providers;
  std::vector<control::ObjectPtr> tenants;
  std::vector<control::ObjectPtr> keys;
  std::function<control::ObjectPtr(std::string_view ns, std::string_view name)> find_secret;
};

struct PlanSettings {
  std::filesystem::path secrets_folder;  // absolute; of publish_plan()'s secret files
  std::string master;                    // deployment_secrets()'s
  std::string control_url = {};          // http://127.0.0.1:PORT; empty: no load reports
  std::filesystem::path control_token_file = {};
  json::object base = {};  // further fields of the plan: usage, access_log, server, …
  // Services are reached by the host "<service>.<namespace>.<domain>" too.
  std::vector<std::string> domains = {"localhost", "sluice.local", "svc.cluster.local"};
  Duration hold = std::chrono::seconds(30);  // unless spec.sluice.wake says otherwise
  int max_held = 100;
};

struct SecretFile {
  std::string name;
  std::string text;
  bool operator==(const SecretFile&) const = default;
};

// What could not be taken over, for a condition of the object.
struct PlanProblem {
  control::ObjectKey object;
  std::string message;
};

struct PlanText {
  std::string id = {};  // as the plan names itself; equal plans have equal ones
  std::string text = {};
  std::vector<SecretFile> secrets = {};
  std::vector<PlanProblem> problems = {};
  std::vector<control::ObjectKey> services = {};  // that have a route
};

PlanText write_plan(const PlanInput& input, const PlanSettings& settings);

// Writes the secrets that are missing, then the plan where it differs from the file's (mode 0600,
// by rename), then removes secrets that neither it nor the plan before names. Gives whether the
// plan was written.
Result<bool> publish_plan(const PlanText& plan, const std::filesystem::path& file,
                          const std::filesystem::path& secrets_folder);

}  // namespace sluice::platform
