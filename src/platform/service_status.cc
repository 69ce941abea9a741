#include "platform/service_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "control/json_util.h"
#include "control/scalars.h"

namespace sluice::platform {

using control::ObjectPtr;
using control::StoredObject;
using control::text_at;

namespace {

constexpr int kWhole = 100;

std::string_view title(Component kind) {
  switch (kind) {
    case Component::kTransformer:
      return "Transformer";
    case Component::kExplainer:
      return "Explainer";
    case Component::kPredictor:
      break;
  }
  return "Predictor";
}

ObjectPtr find_revision(const ComponentFacts& facts, std::string_view name) {
  const auto found = std::ranges::find(
      facts.revisions, name, [](const ObjectPtr& each) { return std::string_view(each->name); });
  return found == facts.revisions.end() ? nullptr : *found;
}

// Is the latest revision what it should be?
Condition configuration(const ComponentFacts& facts) {
  Condition condition{.type = fmt::format("{}ConfigurationReady", title(facts.kind)),
                      .status = "True",
                      .info = true};
  if (facts.error) {
    condition.status = facts.error->reason() == "ModelPulling" ? "Unknown" : "False";
    condition.reason =
        facts.error->reason().empty() ? "InvalidPredictorSpec" : facts.error->reason();
    condition.message = facts.error->message();
  } else if (!facts.latest) {
    condition.status = "Unknown";
    condition.reason = "RevisionMissing";
  } else if (facts.rollout.failed == facts.latest->name) {
    condition.status = "False";
    condition.reason = facts.rollout.reason.empty() ? "RolledBack" : facts.rollout.reason;
    condition.message = facts.rollout.message;
  } else if (!may_serve(*facts.latest)) {
    const auto ready = find_condition(*facts.latest, "Ready");
    condition.status = ready && ready->status == "False" ? "False" : "Unknown";
    condition.reason = ready ? ready->reason : "Deploying";
    condition.message = ready ? ready->message : "";
  }
  return condition;
}

// Can those that get requests take them?
Condition route(const ComponentFacts& facts) {
  Condition condition{
      .type = fmt::format("{}RouteReady", title(facts.kind)), .status = "True", .info = true};
  bool any = false;
  for (const RevisionWeight& weight : facts.weights) {
    const ObjectPtr revision = find_revision(facts, weight.revision);
    if (!revision || weight.percent == 0) continue;
    any = true;
    if (may_serve(*revision)) continue;
    const auto ready = find_condition(*revision, "Ready");
    condition.status = ready && ready->status == "False" ? "False" : "Unknown";
    condition.reason = ready ? ready->reason : "Deploying";
    condition.message = ready ? ready->message : "";
  }
  if (!any) {
    condition.status = "Unknown";
    condition.reason = "RevisionMissing";
  }
  return condition;
}

Condition both(std::string type, const Condition& a, const Condition& b) {
  const auto rank = [](const Condition& c) {
    return c.status == "False" ? 0 : c.status == "Unknown";
  };
  Condition worse{.type = std::move(type), .status = "True"};
  for (const Condition* each : {&a, &b}) {
    if (each->status == "True") continue;
    if (worse.status != "True" && rank(worse) <= rank(*each)) continue;
    worse.status = each->status;
    worse.reason = each->reason;
    worse.message = each->message;
  }
  return worse;
}

// How the one that takes over comes along; nothing while none does.
std::optional<Condition> progress(const Rollout& rollout) {
  const bool failed = rollout.phase == RolloutPhase::kRolledBack;
  if (rollout.stable.empty() || (rollout.candidate.empty() && !failed)) return std::nullopt;
  Condition condition{.type = "RolloutProgressing",
                      .status = rollout.phase == RolloutPhase::kPaused ? "Unknown" : "True",
                      .reason = rollout.reason,
                      .message = rollout.message,
                      .info = true};
  constexpr std::array<std::string_view, 4> kStuck = {
      "InsufficientRoom", "ProgressDeadlineExceeded", "RevisionFailed", "AnalysisFailed"};
  if (failed || std::ranges::find(kStuck, rollout.reason) != kStuck.end()) {
    condition.status = "False";
  }
  return condition;
}

std::string_view model_state(const ObjectPtr& revision) {
  if (!revision) return "Pending";
  const RevisionStatus status = revision_status(*revision);
  if (status.ready > 0) return "Loaded";
  const auto ready = find_condition(*revision, "Ready");
  if (ready && ready->status == "False") return "FailedToLoad";
  if (ready && ready->reason == "ScaledToZero") return "Standby";
  return status.replicas > 0 ? "Loading" : "Pending";
}

std::string_view failure_word(std::string_view reason) {
  constexpr std::array<std::string_view, 4> kKnown = {"NoSupportingRuntime", "RuntimeNotRecognized",
                                                      "RuntimeDisabled", "InvalidPredictorSpec"};
  for (const std::string_view each : kKnown) {
    if (each == reason) return each;
  }
  return reason == "ModelLoadFailed" ? "ModelLoadFailed" : "RuntimeUnhealthy";
}

json::object model_status(const ComponentFacts& facts, const Condition& config) {
  const ObjectPtr stable = find_revision(facts, facts.rollout.stable);
  const bool failed = config.status == "False";
  std::string_view transition = "InProgress";
  if (facts.error && !facts.error->reason().starts_with("Model")) {
    transition = "InvalidSpec";
  } else if (failed) {
    transition = "BlockedByFailedLoad";
  } else if (stable && facts.latest && stable->name == facts.latest->name &&
             config.status == "True") {
    transition = "UpToDate";
  }
  const bool unreadable = facts.error && facts.error->reason() == "ModelLoadFailed";
  int64_t failures = 0;
  json::object last;
  for (const ObjectPtr& replica : facts.replicas) {
    if (text_at(replica->body, "status.phase") != "Failed") continue;
    ++failures;
    const auto* exit = control::object_at(replica->body, "status.lastExit");
    if (exit == nullptr) continue;
    last["exitCode"] = control::integer_at(*exit, "code").value_or(0);
    last["time"] = text_at(*exit, "at");
    last["location"] = replica->name;
  }
  json::object out{
      {"transitionStatus", transition},
      {"states",
       json::object{{"activeModelState", model_state(stable)},
                    {"targetModelState", unreadable ? "FailedToLoad" : model_state(facts.latest)}}},
      {"copies", json::object{{"failedCopies", failures},
                              {"totalCopies", static_cast<int64_t>(facts.replicas.size())}}}};
  if (failed) {
    last["reason"] = failure_word(config.reason);
    set_text(last, "message", config.message);
    out["lastFailureInfo"] = std::move(last);
  }
  return out;
}

json::array traffic_list(const std::vector<RevisionWeight>& weights, std::string_view latest,
                         std::string_view stable) {
  json::array list;
  for (const RevisionWeight& weight : weights) {
    list.push_back(json::object{
        {"revisionName", weight.revision},
        {"percent", weight.percent},
        {"latestRevision", weight.revision == latest},
        {"tag", weight.revision == stable && weight.revision != latest ? "prev" : "latest"}});
  }
  return list;
}

json::object component_status(const ServiceFacts& service, const ComponentFacts& facts,
                              const std::vector<RevisionWeight>& traffic) {
  json::object out;
  const std::string old_path =
      fmt::format("status.components.{}.latestReadyRevision", component_name(facts.kind));
  std::string ready(text_at(service.service->body, old_path));
  if (facts.latest && revision_status(*facts.latest).proven) ready = facts.latest->name;
  if (facts.latest) {
    out["latestCreatedRevision"] = facts.latest->name;
  } else if (!facts.revisions.empty()) {
    out["latestCreatedRevision"] = facts.revisions.back()->name;
  }
  set_text(out, "latestReadyRevision", ready);
  set_text(out, "latestRolledoutRevision", facts.rollout.stable);
  set_text(out, "previousRolledoutRevision", facts.rollout.previous);
  int64_t serving = 0;
  for (const ObjectPtr& each : facts.revisions) serving += revision_status(*each).ready;
  out["replicas"] = static_cast<int64_t>(facts.replicas.size());
  out["readyReplicas"] = serving;
  out["traffic"] =
      traffic_list(traffic, facts.latest ? facts.latest->name : "", facts.rollout.stable);
  set_text(out, "url", service.url);
  return out;
}

json::array canary_list(const ServiceFacts& facts) {
  json::array list;
  for (const ComponentFacts& canary : facts.canaries) {
    const Condition config = configuration(canary);
    json::object entry{{"name", canary.branch},
                       {"trafficPercent", canary.branch_percent},
                       {"servedPercent", canary_percent(canary)},
                       {"ready", config.status == "True"},
                       {"rollout", to_json(canary.rollout)}};
    set_text(entry, "revision", serving_revision(canary));
    set_text(entry, "latestCreatedRevision", canary.latest ? canary.latest->name : "");
    set_text(entry, "reason", config.reason);
    set_text(entry, "message", config.message);
    list.push_back(std::move(entry));
  }
  return list;
}

// Sums up what the components say.
class Conditions {
 public:
  Conditions(const ServiceFacts& facts) : facts_(facts), list_(conditions_of(*facts.service)) {}

  void set(const Condition& condition) { set_condition(list_, condition, facts_.now); }

  // Ready, and the parts of it.
  void component(const ComponentFacts& facts) {
    const Condition config = configuration(facts);
    const Condition way = route(facts);
    set(config);
    set(way);
    const Condition ready = both(fmt::format("{}Ready", title(facts.kind)), config, way);
    set(ready);
    ready_ = both("Ready", ready_, ready);
    routes_ = both("RoutesReady", routes_, way);
    latest_ = both("LatestDeploymentReady", latest_, config);
    if (facts.kind != Component::kPredictor) return;
    if (const auto condition = progress(facts.rollout)) {
      set(*condition);
    } else {
      drop_condition(list_, "RolloutProgressing");
    }
  }

  void built_in(Component kind, bool present, bool has_replicas) {
    const std::string name(title(kind));
    if (!present) {
      for (const char* part : {"Ready", "ConfigurationReady", "RouteReady"}) {
        drop_condition(list_, name + part);
      }
    } else if (!has_replicas) {
      set({.type = name + "Ready", .status = "True", .reason = "BuiltIn"});
    }
  }

  void canaries() {
    if (facts_.canaries.empty()) return drop_condition(list_, "CanaryPredictorReady");
    Condition all{.type = "CanaryPredictorReady", .status = "True", .info = true};
    for (const ComponentFacts& canary : facts_.canaries) {
      all = both("CanaryPredictorReady", all, configuration(canary));
    }
    all.info = true;
    set(all);
  }

  json::array finish() {
    Condition ingress{.type = "IngressReady", .status = "True"};
    if (!facts_.plan_problem.empty()) {
      ingress.status = "False";
      ingress.reason = "PlanProblem";
      ingress.message = facts_.plan_problem;
    } else if (routes_.status != "True") {
      ingress.status = routes_.status;
      ingress.reason = routes_.reason;
      ingress.message = routes_.message;
    } else if (!facts_.in_force && !was_reached()) {
      ingress.status = "Unknown";
      ingress.reason = "PlanNotTaken";
      ingress.message = "the gateway does not say yet that it has the route";
    }
    if (facts_.stopped) {
      const Condition stopped{.type = "Ready",
                              .status = "False",
                              .reason = "Stopped",
                              .message = "the annotation serving.kserve.io/stop is true"};
      ready_ = stopped;
      set({.type = "Stopped", .status = "True", .reason = "Stopped", .info = true});
    } else {
      set({.type = "Stopped", .status = "False", .info = true});
    }
    Condition ready = both("Ready", ready_, ingress);
    if (facts_.sharing) {
      set(*facts_.sharing);
      const bool led = !facts_.leader.empty() && facts_.leader != facts_.service->name;
      if (ready.status == "True" && led) {
        ready.reason = "ProcessShared";
        ready.message = fmt::format("served by the process of {}", facts_.leader);
      }
    } else {
      drop_condition(list_, kProcessShared);
    }
    set(ready);
    set(ingress);
    routes_.info = latest_.info = true;
    set(routes_);
    set(latest_);
    return std::move(list_);
  }

 private:
  // A route that was taken stays: a controller that begins anew need not hear of it again.
  bool was_reached() const {
    const auto before = find_condition(*facts_.service, "IngressReady");
    return before && before->status == "True";
  }

  const ServiceFacts& facts_;
  json::array list_;
  Condition ready_{.type = "Ready", .status = "True"};
  Condition routes_{.type = "RoutesReady", .status = "True", .info = true};
  Condition latest_{.type = "LatestDeploymentReady", .status = "True", .info = true};
};

json::array all_conditions(const ServiceFacts& facts) {
  Conditions conditions(facts);
  bool transformer = false;
  bool explainer = false;
  for (const ComponentFacts& each : facts.components) {
    conditions.component(each);
    transformer = transformer || each.kind == Component::kTransformer;
    explainer = explainer || each.kind == Component::kExplainer;
  }
  conditions.built_in(Component::kTransformer, facts.has_transformer, transformer);
  conditions.built_in(Component::kExplainer, facts.has_explainer, explainer);
  conditions.canaries();
  return conditions.finish();
}

}  // namespace

bool may_serve(const StoredObject& revision) {
  const RevisionStatus status = revision_status(revision);
  if (status.ready > 0) return true;
  if (status.role == RevisionRole::kRetired || !status.scaled || status.desired > 0) return false;
  const auto model = find_condition(revision, "ModelReady");
  return model && model->status == "True" &&
         (status.proven || status.role != RevisionRole::kCandidate);
}

std::string serving_revision(const ComponentFacts& facts) {
  for (const RevisionWeight& weight : facts.weights) {
    const ObjectPtr revision = weight.percent > 0 ? find_revision(facts, weight.revision) : nullptr;
    if (revision && may_serve(*revision)) return weight.revision;
  }
  return {};
}

int canary_percent(const ComponentFacts& canary) {
  return serving_revision(canary).empty() ? 0 : canary.branch_percent;
}

std::vector<RevisionWeight> shown_traffic(const ServiceFacts& facts) {
  std::vector<RevisionWeight> traffic;
  if (facts.components.empty()) return traffic;
  int rest = kWhole;
  std::vector<RevisionWeight> canaries;
  for (const ComponentFacts& canary : facts.canaries) {
    const int percent = std::min(rest, canary_percent(canary));
    if (percent == 0) continue;
    canaries.push_back({serving_revision(canary), percent});
    rest -= percent;
  }
  int given = 0;
  for (const RevisionWeight& weight : facts.components.front().weights) {
    traffic.push_back({weight.revision, weight.percent * rest / kWhole});
    given += traffic.back().percent;
  }
  if (!traffic.empty()) traffic.front().percent += rest - given;
  for (const RevisionWeight& canary : canaries) {
    const auto same = std::ranges::find(traffic, canary.revision, &RevisionWeight::revision);
    if (same == traffic.end()) {
      traffic.push_back(canary);
    } else {
      same->percent += canary.percent;
    }
  }
  return traffic;
}

json::object service_status(const ServiceFacts& facts) {
  json::object out{{"observedGeneration",
                    control::integer_at(facts.service->body, "metadata.generation").value_or(1)},
                   {"deploymentMode", "Standard"},
                   {"conditions", all_conditions(facts)}};
  set_text(out, "url", facts.url);
  if (!facts.url.empty()) out["address"] = json::object{{"url", facts.url}};
  json::object components;
  json::object sluice{{"capacity", facts.capacity}};
  for (const ComponentFacts& each : facts.components) {
    const bool predictor = each.kind == Component::kPredictor;
    const std::string_view name = component_name(each.kind);
    components[name] =
        component_status(facts, each, predictor ? shown_traffic(facts) : each.weights);
    json::array weights;
    for (const RevisionWeight& weight : each.weights) {
      weights.push_back(json::object{{"revision", weight.revision}, {"percent", weight.percent}});
    }
    json::object part{{"rollout", to_json(each.rollout)}, {"weights", std::move(weights)}};
    if (predictor) {
      for (auto& [key, value] : part) sluice[key] = value;
    } else {
      sluice[name] = std::move(part);
    }
  }
  out["components"] = std::move(components);
  if (!facts.components.empty()) {
    const ComponentFacts& predictor = facts.components.front();
    out["modelStatus"] = model_status(predictor, configuration(predictor));
    const auto* runtime =
        predictor.latest ? control::object_at(predictor.latest->body, "spec.runtime") : nullptr;
    if (runtime != nullptr) {
      const bool cluster = text_at(*runtime, "kind") == "ClusterServingRuntime";
      out[cluster ? "clusterServingRuntimeName" : "servingRuntimeName"] = text_at(*runtime, "name");
    }
  }
  if (!facts.claims.empty()) sluice["shares"] = to_json(facts.claims);
  set_text(sluice, "leader", facts.leader);
  if (!facts.canaries.empty()) out["canaryStatuses"] = canary_list(facts);
  out["sluice"] = std::move(sluice);
  return out;
}

}  // namespace sluice::platform
