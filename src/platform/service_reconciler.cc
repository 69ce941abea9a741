#include "platform/service_reconciler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "base/log.h"
#include "control/json_util.h"
#include "platform/revision_spec.h"
#include "platform/rollout_analysis.h"
#include "platform/room.h"
#include "platform/views.h"

namespace sluice::platform {

using control::EventKind;
using control::integer_at;
using control::object_at;
using control::StoredObject;
using control::text_at;

namespace {

constexpr int kWhole = 100;
constexpr int kMaxReplicas = 1000;

std::string_view annotation(const StoredObject& object, std::string_view key) {
  const auto* annotations = object_at(object.body, "metadata.annotations");
  const json::value* value = annotations == nullptr ? nullptr : annotations->if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : "";
}

int replicas_at(const json::object& component, std::string_view key, int fallback) {
  const auto stated = integer_at(component, key);
  return stated ? static_cast<int>(std::clamp<int64_t>(*stated, 0, kMaxReplicas)) : fallback;
}
int min_replicas(const json::object& component) { return replicas_at(component, "minReplicas", 1); }
int max_replicas(const json::object& component) { return replicas_at(component, "maxReplicas", 0); }

int share_of(int percent, int count) { return (percent * count + kWhole - 1) / kWhole; }

bool is_of(const StoredObject& revision, Component kind) {
  return text_at(revision.body, "spec.component") == component_name(kind);
}

// Why it will never be ready.
std::string failure_of(const StoredObject& revision, const MachineRoom& room) {
  const RoomUse empty{.total = room};
  if (const ReplicaNeeds needs = needs_of(revision); !fits(empty, needs)) {
    return fmt::format("{}: {}", kInsufficientRoom, room_message(needs, empty));
  }
  const auto ready = find_condition(revision, "Ready");
  if (!ready || ready->status != "False") return {};
  for (const char* reason : {"CrashLoopBackOff", "InvalidPredictorSpec", "ModelLoadFailed"}) {
    if (ready->reason == reason) return fmt::format("{}: {}", ready->reason, ready->message);
  }
  return {};
}

RevisionState state_of(const StoredObject& revision, int can_carry, const MachineRoom& room) {
  const RevisionStatus status = revision_status(revision);
  const auto model = find_condition(revision, "ModelReady");
  const auto scheduled = find_condition(revision, "Scheduled");
  const bool fits = !scheduled || scheduled->reason != kInsufficientRoom;
  return {.name = revision.name,
          .ready = may_serve(revision),
          .can_carry = can_carry,
          .failure = status.ready > 0 ? std::string() : failure_of(revision, room),
          // A retired one says so without having looked.
          .loaded = model && model->status == "True" && !is_retired(status),
          .pulling = model && model->reason == "ModelPulling",
          .proven = status.proven,
          .no_room = fits ? std::string() : scheduled->message};
}

std::string rollout_path(const ComponentFacts& facts) {
  if (facts.kind == Component::kPredictor) return "status.sluice.rollout";
  return fmt::format("status.sluice.{}.rollout", component_name(facts.kind));
}

Rollout stored_rollout(const StoredObject& service, const ComponentFacts& facts) {
  if (facts.branch.empty()) {
    const auto* state = object_at(service.body, rollout_path(facts));
    return state == nullptr ? Rollout{} : rollout_from_json(*state);
  }
  const auto* canaries = control::array_at(service.body, "status.canaryStatuses");
  for (size_t i = 0; canaries != nullptr && i < canaries->size(); ++i) {
    const auto* fields = (*canaries)[i].if_object();
    if (fields == nullptr || text_at(*fields, "name") != facts.branch) continue;
    const auto* state = object_at(*fields, "rollout");
    return state == nullptr ? Rollout{} : rollout_from_json(*state);
  }
  return {};
}

}  // namespace

std::vector<ServiceReconciler::Track> ServiceReconciler::tracks_of(const ObjectPtr& service) const {
  std::vector<Track> tracks;
  const json::object& spec = spec_of(*service);
  for (const Component kind :
       {Component::kPredictor, Component::kTransformer, Component::kExplainer}) {
    const auto* component = object_at(spec, component_name(kind));
    if (component == nullptr || !has_replicas(*component, kind)) continue;
    tracks.push_back({.spec = component, .facts = {.kind = kind}});
    if (kind == Component::kPredictor) tracks.back().policy = rollout_policy(spec);
  }
  const auto* canaries = control::array_at(spec, "canary");
  for (size_t i = 0; canaries != nullptr && i < canaries->size(); ++i) {
    const auto* fields = (*canaries)[i].if_object();
    const auto* predictor = fields == nullptr ? nullptr : object_at(*fields, "predictor");
    if (predictor == nullptr) continue;
    std::string branch(text_at(*fields, "name"));
    if (branch.empty()) branch = text_at(*predictor, "name");
    tracks.push_back({.spec = predictor,
                      .facts = {.branch = std::move(branch),
                                .branch_percent = replicas_at(*fields, "trafficPercent", 0)}});
  }
  return tracks;
}

WorkDone ServiceReconciler::reconcile(const std::string& ns, const std::string& name) {
  const ObjectPtr service = context_.store().get({&service_type(), ns, name});
  if (!service || service->deleting()) return WorkDone::done();
  std::vector<ObjectPtr> revisions = owned(context_.store(), *service, revision_type());
  std::erase_if(revisions, [](const ObjectPtr& each) { return each->deleting(); });
  std::ranges::sort(revisions, {}, [](const ObjectPtr& each) {
    return std::pair(generation_of(each->name), std::string_view(each->name));
  });
  const json::object& spec = spec_of(*service);
  ServiceFacts facts{.service = service,
                     .stopped = annotation(*service, kStopAnnotation) == "true",
                     .has_transformer = spec.contains("transformer"),
                     .has_explainer = spec.contains("explainer"),
                     .components = {},
                     .canaries = {},
                     .url = hooks_.url ? hooks_.url(ns, name) : std::string(),
                     .now = context_.now()};
  if (hooks_.in_force) facts.in_force = hooks_.in_force(key_of(*service));
  if (hooks_.plan_problem) facts.plan_problem = hooks_.plan_problem(key_of(*service));
  std::vector<Track> tracks = tracks_of(service);
  bool made_new = false;
  for (Track& track : tracks) made_new = find_latest(service, revisions, track) || made_new;
  if (made_new) return WorkDone::after({});  // which reads them as the store has them
  for (Track& track : tracks) collect(revisions, track);
  facts.capacity = tracks.empty() ? 0 : capacity_of(service, tracks.front());
  std::optional<double> next;
  for (Track& track : tracks) {
    roll(service, facts.capacity, track);
    for (const auto& at : {track.decision.next_at, track.look_at}) {
      if (at && (!next || *at < *next)) next = at;
    }
    (track.facts.branch.empty() ? facts.components : facts.canaries).push_back(track.facts);
  }
  if (!tracks.empty()) tell_sharing(service, tracks.front(), facts);
  const WorkDone written = write_status(service, facts, tracks);
  if (written.failed) return written;
  if (!give_roles(service, revisions, roles(facts, tracks, facts.capacity)))
    return WorkDone::retry();
  drop_old(revisions, tracks);
  if (!next) return WorkDone::done();
  return WorkDone::after(seconds_of(std::max(0.0, *next - context_.now())));
}

// The revision of the present specification. True: one was made.
bool ServiceReconciler::find_latest(const ObjectPtr& service,
                                    const std::vector<ObjectPtr>& revisions, Track& track) {
  ComponentFacts& facts = track.facts;
  auto spec = context_.recipes.revision(*service, *track.spec, facts.kind, facts.branch);
  if (!spec) {
    facts.error = spec.error();
    return false;
  }
  const bool main = facts.kind == Component::kPredictor && facts.branch.empty();
  if (main && asks_to_share(spec_of(*service)) && joins_group(service, *spec, track)) {
    return find_shared(service, revisions, track);
  }
  (*spec)["source"] = template_of(*track.spec);
  // Whatever branch a revision was made for: a canary that is promoted keeps its replicas.
  const std::string hash = template_hash(*spec);
  for (const ObjectPtr& each : revisions) {
    if (!is_of(*each, facts.kind) || template_hash(spec_of(*each)) != hash) continue;
    const bool own = text_at(each->body, "spec.branch") == facts.branch;
    if (own || facts.branch.empty()) facts.latest = each;
  }
  if (facts.latest) return false;
  const ObjectPtr made = make_revision(service, revisions, track, *std::move(spec),
                                       json::array{owner_reference(*service)});
  if (!made) facts.error = Status(Code::kUnavailable, "the revision cannot be stored");
  return made != nullptr;
}

control::ObjectPtr ServiceReconciler::make_revision(const ObjectPtr& service,
                                                    const std::vector<ObjectPtr>& revisions,
                                                    const Track& track, json::object spec,
                                                    json::array owners) {
  const ComponentFacts& facts = track.facts;
  int64_t last =
      generation_of(text_at(service->body, fmt::format("status.components.{}.latestCreatedRevision",
                                                       component_name(facts.kind))));
  for (const ObjectPtr& each : revisions) {
    if (is_of(*each, facts.kind)) last = std::max(last, generation_of(each->name));
  }
  std::string name;
  do {  // One that others share may be left of a service of this name.
    name = revision_name(service->name, facts.kind, facts.branch, ++last);
  } while (context_.store().get({&revision_type(), service->ns, name}));
  json::object labels{{kServiceLabel, service->name},
                      {kComponentLabel, component_name(facts.kind)}};
  json::object body{{"metadata", json::object{{"name", name},
                                              {"labels", std::move(labels)},
                                              {"ownerReferences", std::move(owners)}}},
                    {"spec", std::move(spec)}};
  const auto made =
      context_.objects.create(revision_type(), service->ns, std::move(body), own_writes());
  if (!made) {
    log_error("the revision {}/{} cannot be made: {}", service->ns, name, made.error().message);
    return nullptr;
  }
  context_.tell(service, EventKind::kNormal, "RevisionCreated", fmt::format("made {}", name));
  return made->object;
}

void ServiceReconciler::collect(const std::vector<ObjectPtr>& revisions, Track& track) const {
  for (const ObjectPtr& each : revisions) {
    if (!is_of(*each, track.facts.kind)) continue;
    track.facts.revisions.push_back(each);
    for (ObjectPtr& replica : owned(context_.store(), *each, replica_type())) {
      if (!replica->deleting()) track.facts.replicas.push_back(std::move(replica));
    }
  }
}

// How many replicas the whole traffic needs: what the stable revision had when it had all of it.
int ServiceReconciler::capacity_of(const ObjectPtr& service, const Track& predictor) const {
  const Rollout rollout = stored_rollout(*service, predictor.facts);
  int needed = 0;
  for (const ObjectPtr& each : predictor.facts.revisions) {
    // Not what it was granted: that follows from what others are asked for by this.
    if (each->name == rollout.stable) needed = revision_status(*each).desired;
  }
  const auto before = integer_at(service->body, "status.sluice.capacity");
  if (rollout.weight > 0 && before) needed = static_cast<int>(*before);
  needed = std::max({needed, min_replicas(*predictor.spec), 1});
  const int most = max_replicas(*predictor.spec);
  return most == 0 ? needed : std::min(needed, most);
}

void ServiceReconciler::roll(const ObjectPtr& service, int capacity, Track& track) {
  ComponentFacts& facts = track.facts;
  facts.rollout = stored_rollout(*service, facts);
  RolloutInput input;
  input.now = context_.now();
  input.began = began_;
  input.stopped = annotation(*service, kStopAnnotation) == "true";
  if (facts.latest) input.latest = facts.latest->name;
  const bool predictor = facts.kind == Component::kPredictor && facts.branch.empty();
  const int whole = predictor ? capacity : std::max(1, min_replicas(*track.spec));
  // Where the stable one serves nobody, there is no capacity to be kept.
  const bool stable_serves = std::ranges::any_of(facts.revisions, [&](const ObjectPtr& each) {
    return each->name == facts.rollout.stable && may_serve(*each);
  });
  const MachineRoom room = context_.backend.room();
  for (const ObjectPtr& each : facts.revisions) {
    const RevisionStatus status = revision_status(*each);
    const bool asleep = status.ready == 0 && may_serve(*each);
    const bool enough = asleep || (status.ready > 0 && !stable_serves);
    const int can_carry = enough ? kWhole : std::min(kWhole, status.ready * kWhole / whole);
    input.revisions.push_back(state_of(*each, can_carry, room));
  }
  input.figures = [&](const std::string& revision, double from, double to) {
    return rollout_figures(book_.span(upstream_name(service->ns, revision),
                                      static_cast<int64_t>(std::ceil(from)),
                                      static_cast<int64_t>(std::floor(to))));
  };
  if (predictor) input.command = parse_rollout_command(annotation(*service, kRolloutAnnotation));
  Rollout rollout = facts.rollout;
  track.decision = step(rollout, track.policy, input);
  if (track.decision.check && hooks_.check) {
    // Its answer may be there already.
    input.check = hooks_.check(key_of(*service), *track.decision.check);
    if (input.check) {
      rollout = facts.rollout;
      track.decision = step(rollout, track.policy, input);
    }
  }
  facts.rollout = std::move(rollout);
  facts.weights = track.decision.weights;
}

WorkDone ServiceReconciler::write_status(const ObjectPtr& service, const ServiceFacts& facts,
                                         const std::vector<Track>& tracks) {
  const auto before = find_condition(*service, "Ready");
  const auto shared_before = find_condition(*service, kProcessShared);
  json::object status = service_status(facts);
  const WorkDone done = put_status(context_, service, std::move(status));
  if (done.failed) return done;
  for (const Track& track : tracks) {
    for (const RolloutNote& note : track.decision.notes) {
      context_.tell(service, note.warning ? EventKind::kWarning : EventKind::kNormal, note.reason,
                    note.message);
      if (hooks_.audit) hooks_.audit(*service, note);
    }
  }
  if (facts.sharing && (!shared_before || shared_before->message != facts.sharing->message)) {
    const bool refused = facts.sharing->status == "False";
    context_.tell(service, refused ? EventKind::kWarning : EventKind::kNormal,
                  refused ? facts.sharing->reason : std::string(kProcessShared),
                  facts.sharing->message);
  }
  const ObjectPtr after = context_.store().get(key_of(*service));
  const auto now = after ? find_condition(*after, "Ready") : std::nullopt;
  if (!now || (before && before->status == now->status && before->reason == now->reason)) {
    return done;
  }
  if (now->status == "True") {
    context_.tell(service, EventKind::kNormal, "InferenceServiceReady",
                  fmt::format("{} is ready", service->name));
  } else if (now->status == "False") {
    context_.tell(service, EventKind::kWarning, now->reason, now->message);
  }
  return done;
}

ServiceReconciler::WantedRevisions ServiceReconciler::roles(const ServiceFacts& facts,
                                                            const std::vector<Track>& tracks,
                                                            int capacity) const {
  WantedRevisions wanted;
  if (facts.stopped) return wanted;
  std::map<std::string, int> traffic;
  for (const RevisionWeight& each : shown_traffic(facts)) traffic[each.revision] += each.percent;
  for (const Track& track : tracks) {
    const Rollout& rollout = track.facts.rollout;
    // Nothing wakes an explainer.
    const int lowest = track.facts.kind == Component::kExplainer ? 1 : 0;
    const int least = std::max(lowest, min_replicas(*track.spec));
    const bool canary = !track.facts.branch.empty();
    const bool predictor = track.facts.kind == Component::kPredictor && !canary;
    int fixed = 0;
    if (canary) {
      fixed = track.spec->contains("minReplicas")
                  ? least
                  : std::max(1, share_of(track.facts.branch_percent, capacity));
    }
    std::vector<RevisionWeight> needed = track.decision.capacity;
    for (const RevisionWeight& each : track.decision.weights) {
      if (std::ranges::find(needed, each.revision, &RevisionWeight::revision) == needed.end()) {
        needed.push_back(each);
      }
    }
    for (const RevisionWeight& each : needed) {
      const bool first = rollout.stable.empty();
      const bool serving = first || each.revision != rollout.candidate;
      RevisionWant want{.role = serving ? RevisionRole::kServing : RevisionRole::kCandidate,
                        .traffic = traffic[each.revision],
                        .floor = least,
                        .ceiling = max_replicas(*track.spec)};
      const int whole = predictor ? capacity : std::max(1, least);
      if (canary) {
        want.role = RevisionRole::kCanary;
        want.floor = fixed;
        want.ceiling = std::max(1, fixed);
      } else if (!serving || (rollout.weight > 0 && rollout.tight)) {
        want.floor = std::max(1, share_of(each.percent, whole));
      } else if (rollout.weight > 0 && rollout.phase == RolloutPhase::kStepping) {
        // It takes all back at any time.
        want.floor = std::max(least, whole);
      }
      if (!predictor && !canary) {
        for (const RevisionWeight& weight : track.decision.weights) {
          if (weight.revision == each.revision) want.traffic = weight.percent;
        }
      }
      // A promoted canary is what it was promoted to.
      if (canary && wanted.contains(each.revision)) continue;
      wanted[each.revision] = want;
    }
  }
  return wanted;
}

bool ServiceReconciler::give_roles(const ObjectPtr& service,
                                   const std::vector<ObjectPtr>& revisions,
                                   const WantedRevisions& wanted) {
  bool well = true;
  bool changed = false;
  for (const ObjectPtr& each : revisions) {
    RevisionStatus status = revision_status(*each);
    const auto found = wanted.find(each->name);
    RevisionWant want = found == wanted.end() ? RevisionWant{} : found->second;
    const RevisionWants before = revision_wants(*each);
    RevisionWants wants;
    if (is_shared(spec_of(*each))) {
      for (const ObjectPtr& owner : services_of(context_.store(), *each)) {
        const auto other = before.find(owner->name);
        if (owner->uid != service->uid && other != before.end()) wants.insert(*other);
      }
      if (want.role != RevisionRole::kRetired) wants[service->name] = want;
      want = joined(wants);
    }
    if (status.has_role && status.role == want.role && status.traffic == want.traffic &&
        status.floor == want.floor && status.ceiling == want.ceiling && wants == before) {
      continue;
    }
    status.has_role = true;
    status.role = want.role;
    status.traffic = want.traffic;
    status.floor = want.floor;
    status.ceiling = want.ceiling;
    if (want.ceiling > 0) {
      // At once: nothing is to be started that goes with the autoscaler's next look.
      const int most = std::max(want.ceiling, want.floor);
      status.desired = std::min(status.desired, most);
      status.granted = std::min(status.granted, most);
    }
    changed = true;
    json::object out = with_revision_status(*each, status);
    out.erase("wants");
    if (!wants.empty()) out["wants"] = to_json(wants);
    if (put_status(context_, each, std::move(out)).failed) well = false;
  }
  if (changed) context_.queue.add({.kind = WorkKind::kScale, .ns = {}, .name = {}});
  return well;
}

// Revisions that nobody asks for, but for the last few.
void ServiceReconciler::drop_old(const std::vector<ObjectPtr>& revisions,
                                 const std::vector<Track>& tracks) {
  std::set<std::string> kept;
  for (const Track& track : tracks) {
    const Rollout& rollout = track.facts.rollout;
    if (track.facts.latest) kept.insert(track.facts.latest->name);
    kept.insert({rollout.stable, rollout.previous, rollout.candidate, rollout.failed});
  }
  int spare = context_.timing.kept_revisions;
  for (size_t i = revisions.size(); i > 0; --i) {
    const StoredObject& revision = *revisions[i - 1];
    const RevisionStatus status = revision_status(revision);
    const bool idle = status.role == RevisionRole::kRetired && status.has_role &&
                      owned(context_.store(), revision, replica_type()).empty();
    if (!idle || kept.contains(revision.name) || is_kept(revision) || spare-- > 0) continue;
    remove_object(context_, revision);
  }
}

}  // namespace sluice::platform
