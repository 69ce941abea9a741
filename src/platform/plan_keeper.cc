#include "platform/plan_keeper.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "control/json_util.h"
#include "platform/views.h"

namespace sluice::platform {

using control::ObjectPtr;
using control::text_at;

namespace {

constexpr int kRest = 3;  // times as long as a plan took to make
constexpr Duration kLeastRest = std::chrono::milliseconds(5);
constexpr size_t kRemembered = 64;                          // plans that a gateway may still have
constexpr Duration kGatewayLook = std::chrono::seconds(1);  // one may have gone without a word
constexpr std::string_view kServing = "serving.kserve.io/v1alpha1";
constexpr std::string_view kOurs = "sluice.dev/v1alpha1";

std::vector<RevisionWeight> weights_at(const json::object& body, std::string_view path) {
  std::vector<RevisionWeight> weights;
  const auto* list = control::array_at(body, path);
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const auto* fields = (*list)[i].if_object();
    if (fields == nullptr) continue;
    weights.push_back({std::string(text_at(*fields, "revision")),
                       static_cast<int>(control::integer_at(*fields, "percent").value_or(0))});
  }
  return weights;
}

PlanService plan_service(const ObjectPtr& service) {
  const json::object& body = service->body;
  PlanService out{.object = service,
                  .predictor = weights_at(body, "status.sluice.weights"),
                  .candidate = std::string(text_at(body, "status.sluice.rollout.candidate")),
                  .stable = std::string(text_at(body, "status.sluice.rollout.stable")),
                  .previous = std::string(text_at(body, "status.sluice.rollout.previous")),
                  .canaries = {},
                  .transformer = {},
                  .explainer = {}};
  const auto first_of = [&](std::string_view path) {
    const std::vector<RevisionWeight> weights = weights_at(body, path);
    return weights.empty() ? std::string() : weights.front().revision;
  };
  out.transformer = first_of("status.sluice.transformer.weights");
  out.explainer = first_of("status.sluice.explainer.weights");
  const auto* canaries = control::array_at(body, "status.canaryStatuses");
  for (size_t i = 0; canaries != nullptr && i < canaries->size(); ++i) {
    const auto* fields = (*canaries)[i].if_object();
    if (fields == nullptr) continue;
    out.canaries.push_back(
        {.branch = std::string(text_at(*fields, "name")),
         .revision = std::string(text_at(*fields, "revision")),
         .percent = static_cast<int>(control::integer_at(*fields, "servedPercent").value_or(0))});
  }
  return out;
}

}  // namespace

PlanInput PlanKeeper::gather() const {
  const control::ObjectStore& store = context_.store();
  PlanInput input;
  for (const ObjectPtr& service : store.list(service_type(), {}).objects) {
    if (!service->deleting()) input.services.push_back(plan_service(service));
  }
  std::map<std::string, std::vector<PlanReplica>> replicas;  // by the revision's uid
  for (const ObjectPtr& replica : store.list(replica_type(), {}).objects) {
    if (!takes_requests(*replica)) continue;
    const std::string url(text_at(replica->body, "status.url"));
    replicas[owner_uid(*replica, "Revision")].push_back({replica->name, url});
  }
  for (const ObjectPtr& revision : store.list(revision_type(), {}).objects) {
    if (revision->deleting()) continue;
    const auto serving = replicas.find(revision->uid);
    input.revisions.push_back(
        {revision, serving == replicas.end() ? std::vector<PlanReplica>() : serving->second});
  }
  const auto all = [&](std::string_view version, std::string_view kind) {
    std::vector<ObjectPtr> objects = store.list(*control::find_kind(version, kind), {}).objects;
    std::erase_if(objects, [](const ObjectPtr& each) { return each->deleting(); });
    return objects;
  };
  input.graphs = all(kServing, "InferenceGraph");
  input.providers = all(kOurs, "Provider");
  input.tenants = all(kOurs, "Tenant");
  input.keys = all(kOurs, "ApiKey");
  input.find_secret = [&store](std::string_view ns, std::string_view name) {
    return store.get({control::find_kind("v1", "Secret"), std::string(ns), std::string(name)});
  };
  return input;
}

WorkDone PlanKeeper::work() {
  const TimePoint began = context_.clock().now();
  if (began < not_before_) return WorkDone::after(not_before_ - began);
  const uint64_t version = context_.store().version();
  const PlanText plan = write_plan(gather(), settings_);
  const Result<bool> published = publish_(plan);
  const TimePoint ended = context_.clock().now();
  not_before_ = ended + std::max(kLeastRest, (ended - began) * kRest);
  if (!published) {
    // Once for each reason: it is tried again and again.
    if (failure_ != published.error().message()) {
      failure_ = published.error().message();
      log_error("the gateway's plan cannot be written, it serves by the one before: {}", failure_);
    }
    return WorkDone::retry();
  }
  failure_.clear();
  note(plan, version);
  tell_problems(plan);
  context_.queue.add({.kind = WorkKind::kPlanTaken, .ns = {}, .name = {}});
  return WorkDone::done();
}

void PlanKeeper::note(const PlanText& plan, uint64_t version) {
  if (published_.empty() || published_.back().id != plan.id) published_.push_back({plan.id, 0});
  published_.back().version = version;
  if (published_.size() > kRemembered) published_.pop_front();
  std::map<control::ObjectKey, uint64_t> since;
  for (const control::ObjectKey& key : plan.services) {
    const auto before = routed_since_.find(key);
    since.emplace(key, before == routed_since_.end() ? version : before->second);
  }
  routed_since_ = std::move(since);
}

WorkDone PlanKeeper::look_at_gateways() {
  if (published_.empty()) return WorkDone::done();
  const std::set<std::string> ids = taken_();
  if (ids.empty()) return WorkDone::done();  // one that comes begins with the newest
  uint64_t taken = published_.back().version;
  for (const std::string& id : ids) {
    // The last of the id: a plan may come back.
    const auto found = std::find_if(published_.rbegin(), published_.rend(),
                                    [&](const Published& each) { return each.id == id; });
    taken = std::min(taken, found == published_.rend() ? 0 : found->version);
  }
  const uint64_t before = version();
  if (taken > before) {
    version_.store(taken);
    for (const auto& [key, since] : routed_since_) {
      if (since <= before || since > taken) continue;
      context_.queue.add({.kind = WorkKind::kService, .ns = key.ns, .name = key.name});
    }
  }
  if (taken == published_.back().version) return WorkDone::done();
  return WorkDone::after(kGatewayLook);
}

bool PlanKeeper::none_behind(uint64_t version) const {
  if (version_.load() >= version) return true;
  const bool published = !published_.empty() && published_.back().version >= version;
  return published && taken_().empty();
}

bool PlanKeeper::in_force(const control::ObjectKey& service) const {
  const auto found = routed_since_.find(service);
  return found != routed_since_.end() && found->second <= version();
}

// What the gateway cannot be given becomes a condition of its object.
void PlanKeeper::tell_problems(const PlanText& plan) {
  std::map<control::ObjectKey, std::string> problems;
  for (const PlanProblem& problem : plan.problems) {
    std::string& text = problems[problem.object];
    text += (text.empty() ? "" : "; ") + problem.message;
  }
  const auto look_at = [&](const control::ObjectKey& key) {
    const WorkKind kind = key.type == &service_type() ? WorkKind::kService : WorkKind::kObject;
    context_.queue.add({.kind = kind,
                        .ns = key.ns,
                        .name = kind == WorkKind::kService
                                    ? key.name
                                    : std::string(key.type->kind) + "/" + key.name});
  };
  for (const auto& [key, text] : problems) {
    const auto before = problems_.find(key);
    if (before == problems_.end() || before->second != text) look_at(key);
  }
  for (const auto& [key, text] : problems_) {
    if (!problems.contains(key)) look_at(key);
  }
  problems_ = std::move(problems);
}

std::string PlanKeeper::problem(const control::ObjectKey& object) const {
  const auto found = problems_.find(object);
  return found == problems_.end() ? std::string() : found->second;
}

}  // namespace sluice::platform
