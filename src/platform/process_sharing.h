// ProcessSharing: several InferenceServices in one process, as KServe's ModelMesh has it: models
// are loaded when they are asked for, and make room for each other under one budget of memory.
//
// Services of a namespace that ask for it (spec.sluice.shareProcess), and whose processes would be
// the same but for the model, are a group; process_key() tells groups apart. What the group must
// hold for it each service writes into its own status (ShareClaim). The oldest service that stays
// leads: it makes the group's Revisions. Such a Revision names the models of all and is owned by
// all, so it outlives any of them; each goes over to a new one by its own rollout, and one that
// leaves keeps its claim until something else serves it.
//
// Pure functions and values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "control/limits.h"
#include "control/object_store.h"

namespace sluice::platform {

inline constexpr size_t kMaxSharing = control::limits::kMaxOwners;  // services of one group

// A model of a shared revision; its name is its service's.
struct SharedModel {
  std::string name;
  std::string storage_uri;
  bool operator==(const SharedModel&) const = default;
};

// Of a Revision's spec: by name; none: it is one service's own.
std::vector<SharedModel> shared_models(const json::object& revision_spec);
bool is_shared(const json::object& revision_spec);
// Where the model of this service lies; empty: the revision does not hold it.
std::string shared_uri(const json::object& revision_spec, std::string_view service);
// The group's key; empty: not shared.
std::string_view process_of(const json::object& revision_spec);

// What a group must hold for a service.
struct ShareClaim {
  std::string process;  // key of the group
  std::string storage_uri;
  bool leaving = false;  // only until something else serves it
  bool operator==(const ShareClaim&) const = default;
};
std::vector<ShareClaim> share_claims(const control::StoredObject& service);
json::array to_json(const std::vector<ShareClaim>& claims);

bool asks_to_share(const json::object& service_spec);

// What a service's process is but for the model: what must be equal in a group. Fails with the
// field and why where the service needs a process of its own.
Result<json::object> shared_template(const json::object& service_spec,
                                     const json::object& revision_spec);
std::string process_key(const json::object& shared_template);
// Bytes that the models of such a process may take together; none where that cannot be told before
// it runs.
std::optional<int64_t> model_budget(const json::object& shared_template);
// Names of what differs between two templates, such as "container.args".
std::vector<std::string> template_differences(const json::object& a, const json::object& b);

struct GroupMember {
  control::ObjectPtr service;
  ShareClaim claim;
};
struct ProcessGroup {
  std::vector<GroupMember> members;  // the oldest first

  control::ObjectPtr leader() const;        // null: all are leaving
  std::vector<SharedModel> models() const;  // by name
  std::vector<std::string> uids() const;    // sorted
};
// Of these services, with the claims of `self` in place of those in its status.
ProcessGroup process_group(const std::vector<control::ObjectPtr>& services,
                           const std::string& process, const control::ObjectPtr& self,
                           const std::vector<ShareClaim>& own);

// The spec of the group's Revision, as `maker` makes it.
json::object shared_revision_spec(const json::object& shared_template, const ProcessGroup& group,
                                  std::string_view maker);
// Whether the Revision is this very group's.
bool is_of_group(const control::StoredObject& revision, const std::string& process,
                 const ProcessGroup& group);

// The services that a Revision is for: its owners that are there and stay, the oldest first.
std::vector<control::ObjectPtr> services_of(const control::ObjectStore& store,
                                            const control::StoredObject& revision);
// … and the one by whose scaling it goes; null: none.
control::ObjectPtr policy_service(const control::ObjectStore& store,
                                  const control::StoredObject& revision);

}  // namespace sluice::platform
