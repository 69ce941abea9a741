#include "platform/views.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "control/json_util.h"
#include "control/scalars.h"

namespace sluice::platform {

using control::array_at;
using control::integer_at;
using control::ObjectPtr;
using control::StoredObject;
using control::text_at;
using control::true_at;

namespace {

constexpr std::array<std::pair<RevisionRole, std::string_view>, 4> kRoles = {{
    {RevisionRole::kRetired, "Retired"},
    {RevisionRole::kServing, "Serving"},
    {RevisionRole::kCandidate, "Candidate"},
    {RevisionRole::kCanary, "Canary"},
}};

int count_at(const json::object& root, std::string_view path) {
  return static_cast<int>(std::clamp<int64_t>(integer_at(root, path).value_or(0), 0, 1'000'000));
}

std::optional<RevisionRole> role_of(std::string_view name) {
  const auto* found =
      std::ranges::find(kRoles, name, &std::pair<RevisionRole, std::string_view>::second);
  return found == kRoles.end() ? std::nullopt : std::optional(found->first);
}

double time_at(const json::object& root, std::string_view path) {
  return control::parse_time(text_at(root, path)).value_or(0);
}

}  // namespace

const json::object& spec_of(const control::StoredObject& object) {
  static const json::object kNone;
  const auto* spec = control::object_at(object.body, "spec");
  return spec == nullptr ? kNone : *spec;
}

const control::ResourceType& service_type() {
  static const auto& type = *control::find_kind("serving.kserve.io/v1beta1", "InferenceService");
  return type;
}
const control::ResourceType& revision_type() {
  static const auto& type = *control::find_kind("sluice.dev/v1alpha1", "Revision");
  return type;
}
const control::ResourceType& replica_type() {
  static const auto& type = *control::find_kind("sluice.dev/v1alpha1", "Replica");
  return type;
}

std::string_view role_name(RevisionRole role) {
  return std::ranges::find(kRoles, role, [](const auto& each) { return each.first; })->second;
}

RevisionWants revision_wants(const StoredObject& revision) {
  RevisionWants wants;
  const auto* list = array_at(revision.body, "status.wants");
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const auto* fields = (*list)[i].if_object();
    if (fields == nullptr) continue;
    wants[std::string(text_at(*fields, "service"))] = {
        .role = role_of(text_at(*fields, "role")).value_or(RevisionRole::kRetired),
        .traffic = count_at(*fields, "traffic"),
        .floor = count_at(*fields, "floor"),
        .ceiling = count_at(*fields, "ceiling")};
  }
  return wants;
}

json::array to_json(const RevisionWants& wants) {
  json::array list;
  for (const auto& [service, want] : wants) {
    list.push_back(json::object{{"service", service},
                                {"role", role_name(want.role)},
                                {"traffic", want.traffic},
                                {"floor", want.floor},
                                {"ceiling", want.ceiling}});
  }
  return list;
}

RevisionWant joined(const RevisionWants& wants) {
  RevisionWant all;
  bool bounded = true;
  for (const auto& [service, want] : wants) {
    // Whose requests it answers counts before who only tries it.
    const bool serves = want.role == RevisionRole::kServing;
    if (serves || all.role == RevisionRole::kRetired) all.role = want.role;
    all.traffic = std::max(all.traffic, want.traffic);
    all.floor = std::max(all.floor, want.floor);
    all.ceiling = std::max(all.ceiling, want.ceiling);
    bounded = bounded && want.ceiling > 0;
  }
  if (!bounded) all.ceiling = 0;
  return all;
}

RevisionStatus revision_status(const StoredObject& revision) {
  const json::object& body = revision.body;
  RevisionStatus status;
  const auto role = role_of(text_at(body, "status.role"));
  status.has_role = role.has_value();
  status.role = role.value_or(RevisionRole::kRetired);
  status.traffic = count_at(body, "status.traffic");
  status.floor = count_at(body, "status.floor");
  status.ceiling = count_at(body, "status.ceiling");
  status.desired = count_at(body, "status.desired");
  status.granted = count_at(body, "status.granted");
  status.scaled = control::find_path(body, "status.desired") != nullptr;
  status.replicas = count_at(body, "status.replicas");
  status.ready = count_at(body, "status.readyReplicas");
  status.proven = true_at(body, "status.proven");
  return status;
}

json::object with_revision_status(const StoredObject& revision, const RevisionStatus& status) {
  json::object out;
  if (const auto* present = control::object_at(revision.body, "status")) out = *present;
  out["observedGeneration"] = integer_at(revision.body, "metadata.generation").value_or(1);
  if (status.has_role) out["role"] = role_name(status.role);
  out["traffic"] = status.traffic;
  out["floor"] = status.floor;
  out["ceiling"] = status.ceiling;
  if (status.scaled) {
    out["desired"] = status.desired;
    out["granted"] = status.granted;
  }
  out["replicas"] = status.replicas;
  out["readyReplicas"] = status.ready;
  if (status.proven) out["proven"] = true;
  return out;
}

ReplicaState replica_state(const StoredObject& replica) {
  const json::object& body = replica.body;
  return {.phase = std::string(text_at(body, "status.phase")),
          .url = std::string(text_at(body, "status.url")),
          .restarts = count_at(body, "status.restarts"),
          .failures = count_at(body, "status.failures"),
          .ready_unix = time_at(body, "status.readyAt"),
          .draining_unix = time_at(body, "status.drainingAt"),
          .exit_unix = control::number_at(body, "status.lastExit.atUnix").value_or(0)};
}

bool takes_requests(const StoredObject& replica) {
  return text_at(replica.body, "status.phase") == "Ready" &&
         !text_at(replica.body, "status.url").empty();
}

bool is_serving(const StoredObject& replica) {
  return !replica.deleting() && takes_requests(replica);
}

std::string replica_id(std::string_view ns, std::string_view name) {
  return fmt::format("{}.{}", ns, name);
}

ReplicaName replica_name(std::string_view id) {
  const size_t dot = id.find('.');
  if (dot == std::string_view::npos) return {{}, std::string(id)};
  return {std::string(id.substr(0, dot)), std::string(id.substr(dot + 1))};
}

std::vector<std::string> owner_uids(const StoredObject& object, std::string_view kind) {
  std::vector<std::string> uids;
  const auto* owners = array_at(object.body, "metadata.ownerReferences");
  for (size_t i = 0; owners != nullptr && i < owners->size(); ++i) {
    const auto* fields = (*owners)[i].if_object();
    if (fields == nullptr || text_at(*fields, "kind") != kind) continue;
    uids.emplace_back(text_at(*fields, "uid"));
  }
  return uids;
}

std::string owner_uid(const StoredObject& object, std::string_view kind) {
  const std::vector<std::string> uids = owner_uids(object, kind);
  return uids.empty() ? std::string() : uids.front();
}

json::object owner_reference(const StoredObject& owner) {
  return {{"apiVersion", owner.type->api_version()},
          {"kind", owner.type->kind},
          {"name", owner.name},
          {"uid", owner.uid},
          {"controller", true},
          {"blockOwnerDeletion", true}};
}

std::vector<ObjectPtr> owned(const control::ObjectStore& store, const StoredObject& owner,
                             const control::ResourceType& type) {
  std::vector<ObjectPtr> found = store.dependents(owner.uid);
  std::erase_if(found, [&](const ObjectPtr& each) { return each->type != &type; });
  std::ranges::sort(found, {}, [](const ObjectPtr& each) { return each->name; });
  return found;
}

int64_t generation_of(std::string_view revision) {
  const size_t dash = revision.rfind('-');
  if (dash == std::string_view::npos) return 0;
  int64_t number = 0;
  const char* end = revision.data() + revision.size();
  const auto parsed = std::from_chars(revision.data() + dash + 1, end, number);
  return parsed.ec == std::errc() && parsed.ptr == end ? number : 0;
}

void set_condition(json::array& conditions, const Condition& condition, double now) {
  json::object* fields = nullptr;
  for (json::value& each : conditions) {
    auto* present = each.if_object();
    if (present != nullptr && text_at(*present, "type") == condition.type) fields = present;
  }
  if (fields == nullptr) fields = &conditions.emplace_back(json::object()).get_object();
  const bool turned = text_at(*fields, "status") != condition.status;
  json::object fresh{{"type", condition.type},
                     {"status", condition.status},
                     {"lastTransitionTime",
                      turned ? control::time_text(now) : text_at(*fields, "lastTransitionTime")}};
  set_text(fresh, "reason", condition.reason);
  set_text(fresh, "message", condition.message);
  if (condition.info) fresh["severity"] = "Info";
  *fields = std::move(fresh);
}

void drop_condition(json::array& conditions, std::string_view type) {
  const auto* gone = std::find_if(conditions.begin(), conditions.end(), [&](const auto& each) {
    const auto* fields = each.if_object();
    return fields != nullptr && text_at(*fields, "type") == type;
  });
  if (gone != conditions.end()) conditions.erase(gone);
}

std::optional<Condition> find_condition(const StoredObject& object, std::string_view type) {
  const auto* conditions = array_at(object.body, "status.conditions");
  if (conditions == nullptr) return std::nullopt;
  for (const json::value& each : *conditions) {
    const auto* fields = each.if_object();
    if (fields == nullptr || text_at(*fields, "type") != type) continue;
    return Condition{.type = std::string(type),
                     .status = std::string(text_at(*fields, "status")),
                     .reason = std::string(text_at(*fields, "reason")),
                     .message = std::string(text_at(*fields, "message"))};
  }
  return std::nullopt;
}

json::array conditions_of(const StoredObject& object) {
  const auto* conditions = array_at(object.body, "status.conditions");
  return conditions == nullptr ? json::array() : *conditions;
}

void set_text(json::object& status, std::string_view key, std::string_view text) {
  if (text.empty()) {
    status.erase(key);
  } else {
    status[key] = text;
  }
}

void set_count(json::object& status, std::string_view key, int64_t count) {
  if (count == 0) {
    status.erase(key);
  } else {
    status[key] = count;
  }
}

}  // namespace sluice::platform
