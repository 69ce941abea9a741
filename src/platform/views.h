// Views: Revisions, Replicas and InferenceServices read from their objects, conditions written into
// them. What is missing or of another kind reads as nothing.
//
// Pure functions and values; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "control/object_store.h"
#include "control/objects.h"
#include "platform/replica_backend.h"

namespace sluice::platform {

const control::ResourceType& service_type();
const control::ResourceType& revision_type();
const control::ResourceType& replica_type();

// Its "spec"; empty where it has none.
const json::object& spec_of(const control::StoredObject& object);

// Keeps a Replica until its process has drained.
inline constexpr std::string_view kDrainFinalizer = "sluice.dev/drain";
inline constexpr std::string_view kServiceLabel = "serving.kserve.io/inferenceservice";
inline constexpr std::string_view kComponentLabel = "component";
inline constexpr std::string_view kRevisionLabel = "sluice.dev/revision";

// What a revision is to its service. Revisions that no role is given to keep no replica.
enum class RevisionRole { kRetired, kServing, kCandidate, kCanary };
std::string_view role_name(RevisionRole role);

// A Revision's status; `raw` keeps what others wrote.
struct RevisionStatus {
  RevisionRole role = RevisionRole::kRetired;
  bool has_role = false;  // the service reconciler has seen it
  int traffic = 0;        // percent of the component's requests
  int floor = 0;          // replicas
  int ceiling = 0;        // 0: none
  int desired = 0;
  int granted = 0;
  bool scaled = false;  // desired and granted have been decided once
  int replicas = 0;
  int ready = 0;
  bool proven = false;  // it has had a ready replica
};
// What a service wants of a revision.
struct RevisionWant {
  RevisionRole role = RevisionRole::kRetired;
  int traffic = 0;
  int floor = 0;
  int ceiling = 0;
  bool operator==(const RevisionWant&) const = default;
};
// Of one that several services share, what each of them wants, by the service's name; those that
// want nothing apart. What it gets is the largest of each.
using RevisionWants = std::map<std::string, RevisionWant, std::less<>>;
RevisionWants revision_wants(const control::StoredObject& revision);
json::array to_json(const RevisionWants& wants);
RevisionWant joined(const RevisionWants& wants);

// Roles are given by the service's reconciler.
inline bool is_retired(const RevisionStatus& status) {
  return status.has_role && status.role == RevisionRole::kRetired;
}
RevisionStatus revision_status(const control::StoredObject& revision);
// Puts the fields into the object's status, conditions and the like as they are.
json::object with_revision_status(const control::StoredObject& revision,
                                  const RevisionStatus& status);

struct ReplicaState {
  std::string phase;
  std::string url;
  int restarts = 0;
  int failures = 0;
  double ready_unix = 0;
  double draining_unix = 0;
  double exit_unix = 0;  // 0: has not ended yet
};
ReplicaState replica_state(const control::StoredObject& replica);
// Takes requests: it stands in the gateway's plan.
bool takes_requests(const control::StoredObject& replica);
// … and will go on doing so: it is not deleted. One that is still serves until others can.
bool is_serving(const control::StoredObject& replica);

// "<namespace>.<name>": the backend's name of a Replica, and back.
std::string replica_id(std::string_view ns, std::string_view name);
struct ReplicaName {
  std::string ns;
  std::string name;
};
ReplicaName replica_name(std::string_view id);

// The uid of the owner of this kind, the first of several; empty without.
std::string owner_uid(const control::StoredObject& object, std::string_view kind);
std::vector<std::string> owner_uids(const control::StoredObject& object, std::string_view kind);
json::object owner_reference(const control::StoredObject& owner);

// Revisions of a service, Replicas of a revision, by name.
std::vector<control::ObjectPtr> owned(const control::ObjectStore& store,
                                      const control::StoredObject& owner,
                                      const control::ResourceType& type);

// The number at the end of a revision's name.
int64_t generation_of(std::string_view revision);

struct Condition {
  std::string type;
  std::string status;  // True, False, Unknown
  std::string reason = {};
  std::string message = {};
  bool info = false;  // does not count towards readiness
};
// Sets one in a list of conditions; its time changes where its status does.
void set_condition(json::array& conditions, const Condition& condition, double now);
void drop_condition(json::array& conditions, std::string_view type);
// Nothing where there is none of the type.
std::optional<Condition> find_condition(const control::StoredObject& object, std::string_view type);
json::array conditions_of(const control::StoredObject& object);

// Sets a status's field or takes it away, without a trace of empty ones.
void set_text(json::object& status, std::string_view key, std::string_view text);
void set_count(json::object& status, std::string_view key, int64_t count);

}  // namespace sluice::platform
