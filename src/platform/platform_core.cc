#include "platform/platform_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/log.h"
#include "control/json_util.h"
#include "platform/process_sharing.h"
#include "platform/views.h"

namespace sluice::platform {

using control::Change;
using control::ChangeKind;
using control::ObjectPtr;
using control::StoredObject;
using control::text_at;

namespace {

// Names of WorkKind::kObject for what concerns many objects.
constexpr std::string_view kRuntimes = "runtimes";
constexpr std::string_view kConfiguration = "configuration";
constexpr std::string_view kSharing = "sharing";
constexpr std::string_view kModel = "model:";

bool same_at(const StoredObject& a, const StoredObject& b, std::string_view path) {
  const json::value* x = control::find_path(a.body, path);
  const json::value* y = control::find_path(b.body, path);
  return x == nullptr || y == nullptr ? x == y : control::same_json(*x, *y);
}

// What others who share a process with it go by.
bool changes_sharing(const Change& change) {
  const auto shares = [](const StoredObject& service) {
    return asks_to_share(spec_of(service)) || !share_claims(service).empty();
  };
  if (!shares(*change.object) && !(change.before && shares(*change.before))) return false;
  if (!change.before || change.kind == ChangeKind::kDeleted) return true;
  return change.before->uid != change.object->uid ||
         change.before->deleting() != change.object->deleting() ||
         share_claims(*change.before) != share_claims(*change.object);
}

// More than its status.
bool is_asked_for(const Change& change) {
  if (!change.before || change.kind == ChangeKind::kDeleted) return true;
  const StoredObject& before = *change.before;
  const StoredObject& after = *change.object;
  return before.uid != after.uid || !same_at(before, after, "metadata.generation") ||
         !same_at(before, after, "metadata.annotations") ||
         !same_at(before, after, "metadata.finalizers") || before.deleting() != after.deleting();
}

bool changes_split(const Change& change) {
  if (is_asked_for(change)) return true;
  for (const char* path : {"status.sluice.weights", "status.sluice.rollout.candidate",
                           "status.sluice.rollout.stable", "status.sluice.transformer.weights",
                           "status.sluice.explainer.weights", "status.canaryStatuses"}) {
    if (!same_at(*change.before, *change.object, path)) return true;
  }
  return false;
}

bool is_chosen(const StoredObject& replica) {
  return text_at(replica.body, "status.phase") == "Ready";
}

bool changes_endpoints(const Change& change) {
  const bool now = change.kind != ChangeKind::kDeleted && is_chosen(*change.object);
  const bool before = change.before && is_chosen(*change.before);
  if (now != before) return true;
  return now && !same_at(*change.before, *change.object, "status.url");
}

ServiceHooks with_plan(ServiceHooks hooks, const PlanKeeper& plan) {
  hooks.in_force = [&plan](const control::ObjectKey& key) { return plan.in_force(key); };
  hooks.plan_problem = [&plan](const control::ObjectKey& key) { return plan.problem(key); };
  return hooks;
}

}  // namespace

PlatformCore::PlatformCore(control::Objects& objects, ReplicaBackend& backend,
                           const Recipes& recipes, LoadBook& book, CoreOptions options)
    : queue_(objects.clock()),
      context_{.objects = objects,
               .backend = backend,
               .recipes = recipes,
               .queue = queue_,
               .timing = options.timing,
               .rng = Rng(options.seed),
               .plan_version = [this] { return plan_.version(); },
               .none_behind = [this](uint64_t version) { return plan_.none_behind(version); }},
      plan_(context_, std::move(options.plan), std::move(options.publish),
            [&book, &clock = objects.clock()] { return book.plans(clock.unix_seconds()); }),
      services_(context_, book, with_plan(options.hooks, plan_)),
      revisions_(context_),
      replicas_(context_),
      autoscaler_(context_, book, options.signals),
      object_status_(
          context_, [this](const control::ObjectKey& key) { return plan_.problem(key); },
          options.hooks.url) {
  inbox_->core = this;
  backend.on_change([inbox = inbox_](const std::string& id) {
    const std::lock_guard lock(inbox->mutex);
    if (inbox->core == nullptr) return;
    const ReplicaName name = replica_name(id);
    inbox->core->queue_.add({WorkKind::kReplica, name.ns, name.name});
  });
}

PlatformCore::~PlatformCore() {
  const std::lock_guard lock(inbox_->mutex);
  inbox_->core = nullptr;
}

Outcome PlatformCore::begin() {
  const auto watched = context_.store().subscribe(nullptr, context_.store().version(),
                                                  [inbox = inbox_](const Change& change) {
                                                    const std::lock_guard lock(inbox->mutex);
                                                    if (inbox->core == nullptr) return false;
                                                    if (change.object) inbox->core->changed(change);
                                                    return true;
                                                  });
  if (!watched) return fail(Code::kInternal, watched.error().message);
  queue_.add({WorkKind::kBackend, {}, {}});
  queue_.add({WorkKind::kPlan, {}, {}});
  queue_.add({WorkKind::kScale, {}, {}});
  return {};
}

void PlatformCore::changed(const Change& change) {
  const control::ResourceType* type = change.object->type;
  if (type->ephemeral) return;
  if (type == &service_type()) return service_changed(change);
  if (type == &revision_type()) return revision_changed(change);
  if (type == &replica_type()) return replica_changed(change);
  other_changed(change);
}

void PlatformCore::service_changed(const Change& change) {
  const StoredObject& service = *change.object;
  if (is_asked_for(change)) {
    autoscaler_.note(service.ns, service.name);
    queue_.add({WorkKind::kService, service.ns, service.name});
  }
  if (changes_split(change)) queue_.add({WorkKind::kPlan, {}, {}});
  if (changes_sharing(change)) {
    queue_.add({WorkKind::kObject, service.ns, std::string(kSharing)});
  }
}

void PlatformCore::revision_changed(const Change& change) {
  const StoredObject& revision = *change.object;
  queue_.add({WorkKind::kRevision, revision.ns, revision.name});
  for (const ObjectPtr& service : services_of(context_.store(), revision)) {
    autoscaler_.note(service->ns, service->name);
    queue_.add({WorkKind::kService, service->ns, service->name});
  }
  if (change.kind != ChangeKind::kModified) queue_.add({WorkKind::kPlan, {}, {}});
  if (change.kind == ChangeKind::kDeleted) queue_.add({WorkKind::kScale, {}, {}});
}

void PlatformCore::replica_changed(const Change& change) {
  const StoredObject& replica = *change.object;
  if (changes_endpoints(change)) queue_.add({WorkKind::kPlan, {}, {}});
  if (is_asked_for(change)) queue_.add({WorkKind::kReplica, replica.ns, replica.name});
  const std::string revision(text_at(replica.body, "spec.revision"));
  queue_.add({WorkKind::kRevision, replica.ns, revision});
  if (const auto of = context_.store().get({&revision_type(), replica.ns, revision})) {
    for (const ObjectPtr& service : services_of(context_.store(), *of)) {
      queue_.add({WorkKind::kService, service->ns, service->name});
    }
  }
  // Its room is free.
  if (change.kind == ChangeKind::kDeleted) queue_.add({WorkKind::kScale, {}, {}});
}

void PlatformCore::other_changed(const Change& change) {
  const StoredObject& object = *change.object;
  const std::string_view kind = object.type->kind;
  if (kind == "ServingRuntime" || kind == "ClusterServingRuntime") {
    queue_.add({WorkKind::kObject, object.ns, std::string(kRuntimes)});
  } else if (kind == "Secret" || kind == "ConfigMap" || kind == "ServiceAccount") {
    queue_.add({WorkKind::kObject, object.ns, std::string(kConfiguration)});
    if (kind == "Secret") queue_.add({WorkKind::kPlan, {}, {}});
  } else if (ObjectStatus::covers(*object.type) && is_asked_for(change)) {
    queue_.add({WorkKind::kPlan, {}, {}});
    queue_.add({WorkKind::kObject, object.ns, fmt::format("{}/{}", kind, object.name)});
    if (kind == "ApiKey") {
      const std::string_view tenant = text_at(object.body, "spec.tenant");
      queue_.add({WorkKind::kObject, object.ns, fmt::format("Tenant/{}", tenant)});
    }
  }
}

void PlatformCore::told(const std::vector<std::string>& awaited) {
  queue_.add({WorkKind::kPlanTaken, {}, {}});
  if (!awaited.empty()) wake(awaited);
}

void PlatformCore::model_changed(const std::string& uri) {
  queue_.add({WorkKind::kObject, {}, std::string(kModel) + uri});
}

bool PlatformCore::step() {
  const auto key = queue_.take();
  if (!key) return false;
  queue_.finish(*key, work(*key));
  return true;
}

WorkDone PlatformCore::work(const WorkKey& key) {
  if (queue_.overflowed()) {
    look_at_all_ = true;
    queue_.add({WorkKind::kBackend, {}, {}});
  }
  switch (key.kind) {
    case WorkKind::kPlan:
      return plan_.work();
    case WorkKind::kPlanTaken:
      return plan_.look_at_gateways();
    case WorkKind::kReplica:
      return replicas_.reconcile(key.ns, key.name);
    case WorkKind::kRevision:
      return revisions_.reconcile(key.ns, key.name);
    case WorkKind::kScale:
      return autoscaler_.run();
    case WorkKind::kService:
      return services_.reconcile(key.ns, key.name);
    case WorkKind::kObject:
      return work_object(key);
    case WorkKind::kBackend:
      return look_around();
    case WorkKind::kTell:
      context_.flush_events();
      return WorkDone::done();
  }
  return WorkDone::done();
}

WorkDone PlatformCore::look_around() {
  replicas_.look_around();
  resync();
  return WorkDone::after(context_.timing.look);
}

// All there is at first, and where keys were lost. Then an even part at each look, so that every
// object has its turn once in a resync and a thousand of them never come at once.
void PlatformCore::resync() {
  const size_t parts = std::exchange(look_at_all_, false)
                           ? 1
                           : static_cast<size_t>(std::max<Duration::rep>(
                                 1, context_.timing.resync / context_.timing.look));
  const size_t part = looks_++ % parts;
  const auto has_turn = [&](const StoredObject& object) {
    return std::hash<std::string>()(object.name) % parts == part;
  };
  const control::ObjectStore& store = context_.store();
  const auto each_of = [&](const control::ResourceType& type, auto&& use) {
    for (const ObjectPtr& each : store.list(type, {}).objects) {
      if (has_turn(*each)) use(*each);
    }
  };
  each_of(service_type(),
          [&](const StoredObject& each) { queue_.add({WorkKind::kService, each.ns, each.name}); });
  each_of(revision_type(),
          [&](const StoredObject& each) { queue_.add({WorkKind::kRevision, each.ns, each.name}); });
  for (const control::ResourceType& type : control::resource_types()) {
    if (!ObjectStatus::covers(type)) continue;
    each_of(type, [&](const StoredObject& each) {
      queue_.add({WorkKind::kObject, each.ns, fmt::format("{}/{}", type.kind, each.name)});
    });
  }
  if (part == 0) queue_.add({WorkKind::kPlan, {}, {}});
}

WorkDone PlatformCore::work_object(const WorkKey& key) {
  if (key.name == kRuntimes) {
    look_at_services(key.ns);
  } else if (key.name == kConfiguration) {
    look_at_waiting(key.ns);
  } else if (key.name == kSharing) {
    look_at_sharing(key.ns);
  } else if (key.name.starts_with(kModel)) {
    look_at_models(key.name.substr(kModel.size()));
  } else if (const size_t slash = key.name.find('/'); slash != std::string::npos) {
    const std::string kind = key.name.substr(0, slash);
    const control::ResourceType* type = control::find_kind("sluice.dev/v1alpha1", kind);
    if (type == nullptr) type = control::find_kind("serving.kserve.io/v1alpha1", kind);
    if (type != nullptr) {
      return object_status_.reconcile({type, key.ns, key.name.substr(slash + 1)});
    }
  }
  return WorkDone::done();
}

// One of those that share a process, or want to, has changed.
void PlatformCore::look_at_sharing(const std::string& ns) {
  for (const ObjectPtr& each : context_.store().list(service_type(), ns).objects) {
    if (!asks_to_share(spec_of(*each)) && share_claims(*each).empty()) continue;
    queue_.add({WorkKind::kService, each->ns, each->name});
  }
}

void PlatformCore::look_at_services(const std::string& ns) {
  for (const ObjectPtr& each : context_.store().list(service_type(), ns).objects) {
    queue_.add({WorkKind::kService, each->ns, each->name});
  }
}

// What a missing Secret or ConfigMap may keep from starting: replicas, and models being fetched.
void PlatformCore::look_at_waiting(const std::string& ns) {
  for (const ObjectPtr& each : context_.store().list(replica_type(), ns).objects) {
    if (text_at(each->body, "status.phase") != "Pending") continue;
    queue_.add({WorkKind::kReplica, each->ns, each->name});
  }
  for (const ObjectPtr& each : context_.store().list(revision_type(), ns).objects) {
    const auto model = find_condition(*each, "ModelReady");
    if (model && model->status == "False") {
      queue_.add({WorkKind::kRevision, each->ns, each->name});
    }
  }
}

void PlatformCore::look_at_models(const std::string& uri) {
  // Those that share a process come to it when their model is here.
  for (const ObjectPtr& each : context_.store().list(service_type(), {}).objects) {
    const json::object& spec = spec_of(*each);
    if (!asks_to_share(spec) || text_at(spec, "predictor.model.storageUri") != uri) continue;
    queue_.add({WorkKind::kService, each->ns, each->name});
  }
  for (const ObjectPtr& each : context_.store().list(revision_type(), {}).objects) {
    const auto models = shared_models(spec_of(*each));
    if (text_at(each->body, "spec.storageUri") != uri &&
        std::ranges::find(models, uri, &SharedModel::storage_uri) == models.end()) {
      continue;
    }
    queue_.add({WorkKind::kRevision, each->ns, each->name});
    for (const ObjectPtr& replica : owned(context_.store(), *each, replica_type())) {
      queue_.add({WorkKind::kReplica, replica->ns, replica->name});
    }
  }
}

}  // namespace sluice::platform
