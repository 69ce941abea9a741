#include "platform/revision_reconciler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "control/json_util.h"
#include "platform/process_sharing.h"
#include "platform/room.h"

namespace sluice::platform {

using control::StoredObject;

namespace {

constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";
constexpr size_t kSuffix = 5;

std::string random_suffix(Rng& rng) {
  std::string text;
  for (size_t i = 0; i < kSuffix; ++i) text += kLetters[rng.below(kLetters.size())];
  return text;
}

// The more it serves, the later it goes.
int worth(const StoredObject& replica) {
  if (is_serving(replica)) return 3;
  const std::string_view phase = control::text_at(replica.body, "status.phase");
  if (phase == "NotReady") return 2;
  return phase == "Starting" ? 1 : 0;
}

std::string_view model_phase(ModelPhase phase) {
  switch (phase) {
    case ModelPhase::kReady:
      return "Ready";
    case ModelPhase::kPulling:
      return "Pulling";
    case ModelPhase::kFailed:
      return "Failed";
  }
  return "Failed";
}

json::object model_status(const ModelView& model) {
  json::object out{{"phase", model_phase(model.phase)}};
  set_count(out, "bytesDone", static_cast<int64_t>(model.done));
  set_count(out, "bytesTotal", static_cast<int64_t>(model.total));
  set_text(out, "message", model.error);
  return out;
}

Condition model_condition(const ModelView& model) {
  Condition condition{.type = "ModelReady", .status = "True", .reason = "Ready"};
  if (model.phase == ModelPhase::kPulling) {
    condition.status = "Unknown";
    condition.reason = "ModelPulling";
    condition.message = fmt::format("{} of {} bytes are here", model.done, model.total);
  } else if (model.phase == ModelPhase::kFailed) {
    condition.status = "False";
    // The first is tried again by itself.
    condition.reason = model.final ? "ModelLoadFailed" : "ModelPullFailed";
    condition.message = model.error;
  }
  return condition;
}

// What the service says of its replicas. Taken when the service was: see admission.
json::object texts_of(const StoredObject& revision, std::string_view path) {
  const auto* found = control::object_at(revision.body, path);
  return found == nullptr ? json::object() : *found;
}

}  // namespace

WorkDone RevisionReconciler::reconcile(const std::string& ns, const std::string& name) {
  const ObjectPtr revision = context_.store().get({&revision_type(), ns, name});
  if (!revision || revision->deleting()) return WorkDone::done();
  if (std::ranges::none_of(owner_uids(*revision, "InferenceService"),
                           [&](const auto& uid) { return context_.store().has_uid(uid); })) {
    return remove_object(context_, *revision) ? WorkDone::done() : WorkDone::retry();
  }
  std::vector<ObjectPtr> live;
  int ready = 0;
  for (ObjectPtr& each : owned(context_.store(), *revision, replica_type())) {
    ready += takes_requests(*each) ? 1 : 0;
    if (each->deleting()) {
      // It may wait for one of the others.
      context_.queue.add({.kind = WorkKind::kReplica, .ns = ns, .name = each->name});
    } else {
      live.push_back(std::move(each));
    }
  }
  const RevisionStatus status = revision_status(*revision);
  // What keeps no replica needs no model.
  const bool wanted = !is_retired(status);
  const ModelView model = wanted ? context_.recipes.model(*revision)
                                 : ModelView{.phase = ModelPhase::kReady, .path = {}, .error = {}};
  const auto granted = static_cast<size_t>(status.granted);
  bool well = true;
  if (live.size() > granted) {
    well = remove_some(live, live.size() - granted);
  } else if (model.phase == ModelPhase::kReady) {
    for (size_t i = live.size(); i < granted && well; ++i) well = make_replica(*revision);
  }
  WorkDone then = well ? WorkDone::done() : WorkDone::retry();
  // That one is being brought here is told; another try has to be asked for.
  if (well && model.phase == ModelPhase::kFailed && !model.final) {
    const Duration wait = model.retry_at - context_.clock().now();
    then = WorkDone::after(std::max(context_.timing.look, wait));
  }
  return put_status(context_, revision, status_of(revision, live, ready, model), then);
}

bool RevisionReconciler::make_replica(const StoredObject& revision) {
  const std::string service(control::text_at(revision.body, "spec.service"));
  json::object labels = texts_of(revision, "spec.labels");
  labels[kServiceLabel] = service;
  labels[kComponentLabel] = control::text_at(revision.body, "spec.component");
  labels[kRevisionLabel] = revision.name;
  const std::string name = fmt::format("{}-{}", revision.name, random_suffix(context_.rng));
  // A process that an object of this name left behind.
  if (context_.backend.find(replica_id(revision.ns, name))) return false;
  json::object spec{{"revision", revision.name}, {"service", service}};
  if (const auto grace = control::integer_at(revision.body, "spec.terminationGracePeriodSeconds")) {
    spec["graceSeconds"] = *grace;
  }
  const ReplicaNeeds needs = needs_of(revision);
  set_count(spec, "memoryBytes", static_cast<int64_t>(needs.memory_bytes));
  if (needs.cpus > 0) spec["cpus"] = needs.cpus;
  json::object body{
      {"metadata", json::object{{"name", name},
                                {"labels", std::move(labels)},
                                {"annotations", texts_of(revision, "spec.annotations")},
                                {"finalizers", json::array{kDrainFinalizer}},
                                {"ownerReferences", json::array{owner_reference(revision)}}}},
      {"spec", std::move(spec)}};
  const auto made =
      context_.objects.create(replica_type(), revision.ns, std::move(body), own_writes());
  if (!made) {
    log_warn("no replica of {}/{} can be made: {}", revision.ns, revision.name,
             made.error().message);
  }
  return made.has_value();
}

bool RevisionReconciler::remove_some(std::vector<ObjectPtr> live, size_t count) {
  std::ranges::sort(live, [](const ObjectPtr& a, const ObjectPtr& b) {
    const int worth_a = worth(*a);
    const int worth_b = worth(*b);
    if (worth_a != worth_b) return worth_a < worth_b;
    const std::string_view made_a = control::text_at(a->body, "metadata.creationTimestamp");
    const std::string_view made_b = control::text_at(b->body, "metadata.creationTimestamp");
    return made_a == made_b ? a->name < b->name : made_a > made_b;
  });
  bool well = true;
  for (size_t i = 0; i < count; ++i) well = remove_object(context_, *live[i]) && well;
  return well;
}

Condition RevisionReconciler::readiness(const StoredObject& revision, const RevisionStatus& status,
                                        const std::vector<ObjectPtr>& live,
                                        const ModelView& model) const {
  Condition ready{.type = "Ready", .status = "Unknown", .reason = "Deploying"};
  if (is_retired(status)) {
    return {.type = "Ready", .status = "False", .reason = "Retired", .info = true};
  }
  if (status.ready > 0) return {.type = "Ready", .status = "True", .reason = "Ready"};
  if (model.phase != ModelPhase::kReady) {
    Condition condition = model_condition(model);
    condition.type = "Ready";
    return condition;
  }
  if (!status.scaled) return ready;
  if (status.desired == 0) {
    return {.type = "Ready",
            .status = "True",
            .reason = "ScaledToZero",
            .message = "a request starts a replica"};
  }
  if (status.granted == 0) {
    ready.status = "False";
    ready.reason = kInsufficientRoom;
    ready.message =
        room_message(needs_of(revision), room_in_use(context_.store(), context_.backend));
    return ready;
  }
  // What keeps the one from starting that has come furthest.
  for (const ObjectPtr& replica : live) {
    const auto condition = find_condition(*replica, "Ready");
    if (!condition || condition->reason == "Starting") continue;
    ready.status = "False";
    ready.reason = condition->reason;
    ready.message = condition->message;
  }
  return ready;
}

json::object RevisionReconciler::status_of(const ObjectPtr& revision,
                                           const std::vector<ObjectPtr>& live, int ready,
                                           const ModelView& model) const {
  RevisionStatus status = revision_status(*revision);
  status.replicas = static_cast<int>(live.size());
  status.ready = ready;
  status.proven = status.proven || status.ready > 0;
  json::object out = with_revision_status(*revision, status);
  const bool has_model =
      !control::text_at(revision->body, "spec.storageUri").empty() || is_shared(spec_of(*revision));
  if (is_retired(status) || !has_model) {
    out.erase("model");
  } else {
    out["model"] = model_status(model);
  }
  const double now = context_.now();
  json::array conditions = conditions_of(*revision);
  set_condition(conditions, readiness(*revision, status, live, model), now);
  set_condition(conditions, model_condition(model), now);
  if (status.granted < status.desired) {
    set_condition(
        conditions,
        {.type = "Scheduled",
         .status = "False",
         .reason = std::string(kInsufficientRoom),
         .message = fmt::format(
             "{} of {} replicas have room; {}", status.granted, status.desired,
             room_message(needs_of(*revision), room_in_use(context_.store(), context_.backend)))},
        now);
  } else {
    set_condition(conditions, {.type = "Scheduled", .status = "True", .reason = "Fits"}, now);
  }
  out["conditions"] = std::move(conditions);
  return out;
}

}  // namespace sluice::platform
