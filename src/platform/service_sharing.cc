// ServiceReconciler: predictors that share a process.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <span>

#include "control/json_util.h"
#include "platform/revision_spec.h"
#include "platform/service_reconciler.h"

namespace sluice::platform {

using control::object_at;
using control::text_at;

namespace {

constexpr size_t kMaxShown = 10;  // names in one message

std::string names_text(const std::vector<std::string>& names) {
  if (names.size() <= kMaxShown) return fmt::format("{}", fmt::join(names, ", "));
  return fmt::format("{} and {} more", fmt::join(std::span(names).first(kMaxShown), ", "),
                     names.size() - kMaxShown);
}

// Those of the group but for this one and the leader.
std::vector<std::string> others(const ProcessGroup& group, const control::ObjectPtr& service) {
  const control::ObjectPtr leader = group.leader();
  std::vector<std::string> names;
  for (const GroupMember& each : group.members) {
    const bool leads = leader && each.service->uid == leader->uid;
    if (each.service->uid != service->uid && !leads) names.push_back(each.service->name);
  }
  return names;
}

}  // namespace

// Whether its revisions are a group's; else they are its own.
bool ServiceReconciler::joins_group(const ObjectPtr& service, const json::object& spec,
                                    Track& track) {
  Sharing& sharing = track.sharing;
  sharing.asked = true;
  auto shared = shared_template(spec_of(*service), spec);
  if (!shared) {
    sharing.problem = shared.error().message();
    return false;
  }
  sharing.process = *std::move(shared);
  const std::string process = process_key(sharing.process);
  const std::vector<ShareClaim> before = share_claims(*service);
  const auto present = std::ranges::find(before, process, &ShareClaim::process);
  const ModelView model =
      context_.recipes.loadable_model(spec, service->ns, model_budget(sharing.process));
  std::string uri(text_at(spec, "storageUri"));
  if (model.phase != ModelPhase::kReady) {
    // A model that is not here, or is none, keeps nobody else waiting: the group holds the one
    // before.
    uri = present == before.end() ? std::string() : present->storage_uri;
  }
  if (!uri.empty()) {
    sharing.claims = {{.process = process, .storage_uri = std::move(uri), .leaving = false}};
  }
  sharing.group = process_group(context_.store().list(service_type(), service->ns).objects, process,
                                service, sharing.claims);
  if (sharing.group.members.size() > kMaxSharing && present == before.end()) {
    sharing.problem =
        fmt::format("{} services share the process already: no more may", kMaxSharing);
    sharing.claims.clear();
    return false;
  }
  if (model.phase != ModelPhase::kReady) wait_for_model(spec, model, track);
  if (sharing.group.members.size() <= 1) sharing.alone = what_differs(service, sharing.process);
  return true;
}

void ServiceReconciler::wait_for_model(const json::object& spec, const ModelView& model,
                                       Track& track) const {
  const std::string_view uri = text_at(spec, "storageUri");
  std::string reason = "ModelPulling";
  std::string message = fmt::format("{}: {} of {} bytes are here", uri, model.done, model.total);
  if (model.phase == ModelPhase::kFailed) {
    reason = model.final || model.cannot_load ? "ModelLoadFailed" : "ModelPullFailed";
    message = model.error;
    // That one is being brought here is told; another try has to be asked for.
    const Duration pause = std::max(context_.timing.look, model.retry_at - context_.clock().now());
    if (!model.final) track.look_at = context_.now() + to_seconds(pause);
  }
  track.facts.error =
      fail(Code::kUnavailable, std::move(message), "storageUri", std::move(reason)).error();
}

// True: a revision was made.
bool ServiceReconciler::find_shared(const ObjectPtr& service,
                                    const std::vector<ObjectPtr>& revisions, Track& track) {
  Sharing& sharing = track.sharing;
  if (sharing.claims.empty()) return false;  // its model has never been here
  const std::string& process = sharing.claims.front().process;
  const std::string key = fmt::format("{}/{}", service->ns, process);
  const auto exact = std::ranges::find_if(
      revisions, [&](const ObjectPtr& each) { return is_of_group(*each, process, sharing.group); });
  if (exact != revisions.end()) {
    track.facts.latest = *exact;
    gathering_.erase(key);
    return false;
  }
  const ObjectPtr leader = sharing.group.leader();
  if (leader && leader->uid == service->uid) {
    const double since = gathering_.try_emplace(key, context_.now()).first->second;
    const double due = since + to_seconds(context_.timing.gather);
    if (context_.now() >= due) {
      gathering_.erase(key);
      json::array owners;
      for (const GroupMember& each : sharing.group.members) {
        json::object owner = owner_reference(*each.service);
        owner["controller"] = each.service->uid == service->uid;
        owners.push_back(std::move(owner));
      }
      const ObjectPtr made = make_revision(
          service, revisions, track,
          shared_revision_spec(sharing.process, sharing.group, service->name), std::move(owners));
      if (!made) track.facts.error = Status(Code::kUnavailable, "the revision cannot be stored");
      return made != nullptr;
    }
    track.look_at = track.look_at ? std::min(*track.look_at, due) : due;
  }
  // Until there is one, what holds its present model stays.
  const auto* rollout = object_at(service->body, "status.sluice.rollout");
  for (const char* part : {"candidate", "stable"}) {
    const std::string_view name = rollout == nullptr ? "" : text_at(*rollout, part);
    const auto found = std::ranges::find_if(revisions, [&](const ObjectPtr& each) {
      return each->name == name && process_of(spec_of(*each)) == process &&
             shared_uri(spec_of(*each), service->name) == sharing.claims.front().storage_uri;
    });
    if (found != revisions.end()) {
      track.facts.latest = *found;
      break;
    }
  }
  return false;
}

// Why another service that shares is in another group.
std::string ServiceReconciler::what_differs(const ObjectPtr& service,
                                            const json::object& mine) const {
  for (const ObjectPtr& other : context_.store().list(service_type(), service->ns).objects) {
    const json::object& spec = spec_of(*other);
    const auto* predictor = object_at(spec, "predictor");
    if (other->uid == service->uid || other->deleting() || predictor == nullptr) continue;
    if (!asks_to_share(spec)) continue;
    const auto revision = context_.recipes.revision(*other, *predictor, Component::kPredictor, {});
    const auto theirs = revision ? shared_template(spec, *revision)
                                 : Result<json::object>(std::unexpected(revision.error()));
    if (!theirs) continue;
    const auto fields = template_differences(mine, *theirs);
    if (!fields.empty()) return fmt::format("{} has another {}", other->name, names_text(fields));
  }
  return {};
}

// What it asks of groups from now on, and with whom it shares.
void ServiceReconciler::tell_sharing(const ObjectPtr& service, const Track& predictor,
                                     ServiceFacts& facts) {
  const Sharing& sharing = predictor.sharing;
  const ComponentFacts& component = predictor.facts;
  facts.claims = sharing.claims;
  // What serves it must go on holding its model.
  std::vector<std::string> serving{component.rollout.stable};
  for (const RevisionWeight& each : component.weights) serving.push_back(each.revision);
  for (const ObjectPtr& each : component.revisions) {
    const json::object& spec = spec_of(*each);
    if (!is_shared(spec) || std::ranges::find(serving, each->name) == serving.end()) continue;
    const std::string process(process_of(spec));
    if (std::ranges::find(facts.claims, process, &ShareClaim::process) != facts.claims.end()) {
      continue;
    }
    facts.claims.push_back(
        {.process = process, .storage_uri = shared_uri(spec, service->name), .leaving = true});
  }
  if (!sharing.asked) return;
  Condition condition{.type = std::string(kProcessShared), .status = "True", .info = true};
  const std::vector<std::string> names = others(sharing.group, service);
  const ObjectPtr leader = sharing.group.leader();
  if (!sharing.problem.empty()) {
    condition.status = "False";
    condition.reason = "NotShareable";
    condition.message = sharing.problem;
  } else if (sharing.claims.empty()) {
    condition.status = "Unknown";
    condition.reason = component.error ? component.error->reason() : "InvalidPredictorSpec";
    condition.message = "it comes to the others when its model is here";
  } else if (leader == nullptr || sharing.group.members.size() == 1) {
    condition.reason = "Alone";
    condition.message = sharing.alone.empty()
                            ? "no other service shares its process"
                            : "no other service shares its process: " + sharing.alone;
  } else {
    const bool leads = leader->uid == service->uid;
    condition.reason = leads ? "Leader" : "Member";
    condition.message = leads ? fmt::format("its process serves {} too", names_text(names))
                              : fmt::format("served by the process of {}", leader->name);
    if (!leads && !names.empty()) condition.message += ", with " + names_text(names);
  }
  if (leader != nullptr && !sharing.claims.empty()) facts.leader = leader->name;
  facts.sharing = std::move(condition);
}

// Whether a service that shares the revision may yet go back to it.
bool ServiceReconciler::is_kept(const control::StoredObject& revision) const {
  if (!is_shared(spec_of(revision))) return false;
  return std::ranges::any_of(services_of(context_.store(), revision), [&](const ObjectPtr& owner) {
    return std::ranges::any_of(
        std::array<std::string_view, 4>{"stable", "previous", "candidate", "failed"},
        [&](std::string_view part) {
          return text_at(owner->body, fmt::format("status.sluice.rollout.{}", part)) ==
                 revision.name;
        });
  });
}

}  // namespace sluice::platform
