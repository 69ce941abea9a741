// InferenceServices and their revisions → upstreams and routes.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "control/json_util.h"
#include "platform/names.h"
#include "platform/plan_draft.h"
#include "platform/process_sharing.h"
#include "platform/replica_template.h"
#include "platform/revision_spec.h"
#include "platform/views.h"

namespace sluice::platform {
namespace {

using control::integer_at;
using control::number_at;
using control::object_at;
using control::text_at;

constexpr std::string_view kRevisionHeader = "x-sluice-revision";
constexpr int kWhole = 100;
constexpr int64_t kMaxTimeout = 86'400;
constexpr int64_t kMaxHold = 600'000;  // ms
constexpr int64_t kRescueWait = 250;   // ms
constexpr int64_t kMaxHeld = 100'000;
constexpr int64_t kMaxOutstanding = 1'000'000;
constexpr int64_t kMaxSegments = 200;
constexpr int64_t kMaxBatch = 1024;
constexpr int64_t kMaxBatchWait = 60'000;  // ms
constexpr int64_t kMaxBatchTimeout = 3600;
constexpr size_t kMaxTargets = 64;

class ServiceWriter {
 public:
  ServiceWriter(PlanDraft& draft, const PlanService& service)
      : draft_(draft),
        service_(service),
        object_(*service.object),
        spec_(spec_of(object_)),
        name_(route_name(object_.ns, object_.name)) {}

  void write() {
    collect_targets();
    find_rescuer();
    if (targets_.empty() || !has_room()) return;
    typed_ = std::ranges::all_of(targets_, [](const Branch& each) {
      return is_sluice_serve(spec_of(*each.revision->object));
    });
    typed_ = typed_ && (rescuer_ == nullptr || is_sluice_serve(spec_of(*rescuer_->object)));
    if (!find_front()) return;
    json::object route = predictor_route();
    add_log(route);
    add_batcher(route);
    if (front_ != nullptr || runs(Component::kExplainer)) inner_ = inner_route(route);
    if (front_ != nullptr) route = front_route();
    route["match"] = json::object{{"models", draft_.names.of(object_.ns, object_.name)}};
    if (json::object transform = transform_of(); !transform.empty()) {
      route["transform"] = std::move(transform);
    }
    if (!checked(route, "spec.transformer")) return;
    add_explainer(route);
    for (json::value& each : upstreams()) {
      std::string name(text_at(each.get_object(), "name"));
      if (draft_.upstream_names.insert(std::move(name)).second) {
        draft_.upstreams.push_back(std::move(each));
      }
    }
    if (inner_) draft_.add_route(*inner_, {});
    draft_.add_route(std::move(route), draft_.hosts(object_.ns, object_.name));
    draft_.services.push_back(control::key_of(object_));
  }

 private:
  struct Branch {
    const PlanRevision* revision;
    int weight = 0;    // of 10,000
    std::string when;  // value of kRevisionHeader; empty: none
  };

  bool has_room() const {
    if (targets_.size() > kMaxTargets) {
      draft_.problem(object_, fmt::format("spec.canary: a service has at most {} revisions under "
                                          "way",
                                          kMaxTargets));
      return false;
    }
    const size_t fronts = runs(Component::kTransformer) ? 1 : 0;
    const size_t rescuers = rescues_from_outside() ? 1 : 0;
    const size_t inner = fronts > 0 || runs(Component::kExplainer) ? 1 : 0;
    return draft_.has_room(object_, targets_.size() + rescuers + fronts, 2 + inner);
  }

  const PlanRevision* find(const std::string& revision) const {
    return draft_.find_revision(object_.ns, revision);
  }

  // Of one that services share: whether it holds this one's model. Its process runs on while this
  // service is stopped.
  bool serves_this(const PlanRevision& revision) const {
    const json::object& spec = spec_of(*revision.object);
    if (!is_shared(spec)) return true;
    const auto* annotations = object_at(object_.body, "metadata.annotations");
    const json::value* stop =
        annotations == nullptr ? nullptr : annotations->if_contains(kStopAnnotation);
    const bool stopped = stop != nullptr && stop->is_string() && stop->get_string() == "true";
    return !stopped && !shared_uri(spec, object_.name).empty();
  }

  // One target for each revision: a canary that has become the stable one has both parts.
  void add_target(const std::string& revision, int weight, const std::string& when) {
    const PlanRevision* found = find(revision);
    if (found == nullptr || !serves_this(*found)) return;
    const auto same = std::ranges::find(targets_, found, &Branch::revision);
    if (same == targets_.end()) {
      targets_.push_back({found, weight, when});
      return;
    }
    same->weight += weight;
    if (same->when.empty()) same->when = when;
  }

  void collect_targets() {
    int canaries = 0;
    for (const PlanCanary& each : service_.canaries) {
      if (find(each.revision) != nullptr) canaries += each.percent;
    }
    const int stable = kWhole - std::clamp(canaries, 0, kWhole);
    for (const RevisionWeight& each : service_.predictor) {
      add_target(each.revision, each.percent * stable,
                 each.revision == service_.candidate ? "latest" : "");
    }
    if (!service_.candidate.empty()) add_target(service_.candidate, 0, "latest");
    for (const PlanCanary& each : service_.canaries) {
      add_target(each.revision, each.percent * kWhole, each.branch);
    }
    return_lost_parts();
    std::erase_if(targets_,
                  [](const Branch& each) { return each.weight == 0 && each.when.empty(); });
    int sum = 0;
    for (const Branch& each : targets_) sum += each.weight;
    // What had the requests is another's while this service is stopped.
    if (sum == 0) return targets_.clear();
    // What has part of them may be gone, or hold this one's model no longer: the others have it
    // all.
    auto most = std::ranges::max_element(targets_, {}, &Branch::weight);
    most->weight += kWhole * kWhole - sum;
  }

  // Weights were decided when a candidate or canary was ready. One that has lost its last replica
  // since gives its part to the stable one, or, where that is what it has just become, to the one
  // before, until it has another or is decided anew. One that sleeps keeps it: its requests wake
  // it.
  void return_lost_parts() {
    const std::string* heir = nullptr;
    for (const std::string* each : {&service_.stable, &service_.previous}) {
      const PlanRevision* found = find(*each);
      if (found == nullptr || found->replicas.empty() || !serves_this(*found)) continue;
      heir = each;
      break;
    }
    if (heir == nullptr) return;
    int lost = 0;
    for (Branch& each : targets_) {
      const RevisionStatus status = revision_status(*each.revision->object);
      const bool sleeps = status.granted == 0 && !is_retired(status);
      if (sleeps || !each.revision->replicas.empty()) continue;
      lost += std::exchange(each.weight, 0);
    }
    if (lost > 0) add_target(*heir, lost, "");
  }

  // Where the candidate has all the traffic.
  bool rescues_from_outside() const {
    return rescuer_ != nullptr &&
           std::ranges::find(targets_, rescuer_, &Branch::revision) == targets_.end();
  }

  // What the revision that takes over fails to answer, the one before answers: nobody but the
  // analysis sees a bad version.
  void find_rescuer() {
    const PlanRevision* candidate = find(service_.candidate);
    const PlanRevision* stable = find(service_.stable);
    if (candidate == nullptr || stable == nullptr || candidate == stable) return;
    // Who asks for it by the header alone wants its own answer.
    const bool has_part = std::ranges::any_of(service_.predictor, [&](const RevisionWeight& each) {
      return each.revision == service_.candidate && each.percent > 0;
    });
    if (!has_part) return;
    if (!candidate->replicas.empty() && !stable->replicas.empty()) rescuer_ = stable;
  }

  // Not what may be the client's own mistake: a model or path that is not known.
  json::array fallbacks() const {
    const control::StoredObject& stable = *rescuer_->object;
    json::object fallback{{"upstream", upstream_name(stable.ns, stable.name)},
                          {"on", json::array{"connect", "timeout", "overloaded", "server_error",
                                             "rate_limited", "auth"}}};
    if (const std::string model = model_of(stable); !model.empty()) fallback["model"] = model;
    return {std::move(fallback)};
  }

  json::array targets() const {
    json::array out;
    for (const Branch& each : targets_) {
      const control::StoredObject& revision = *each.revision->object;
      json::object target{{"upstream", upstream_name(revision.ns, revision.name)}};
      if (each.weight > 0) target["weight"] = each.weight;
      if (const std::string model = model_of(revision); !model.empty()) target["model"] = model;
      if (!each.when.empty()) target["when"] = json::object{{kRevisionHeader, each.when}};
      out.push_back(std::move(target));
    }
    return out;
  }

  // What the server calls its model. Our own is told its name; another one may know several.
  std::string model_of(const control::StoredObject& revision) const {
    if (is_shared(spec_of(revision))) return object_.name;
    const auto* names = control::array_at(spec_of(revision), "modelNames");
    if (names == nullptr || names->empty() || !names->front().is_string()) return {};
    const std::string_view name = names->front().get_string();
    return is_plain(name) ? std::string(name) : std::string();
  }

  // Whether a component has processes of its own.
  bool runs(Component kind) const {
    const auto* component = object_at(spec_, component_name(kind));
    return component != nullptr && has_replicas(*component, kind);
  }

  // False: its transformer's revision is not there yet, and without it nothing is served.
  bool find_front() {
    if (!runs(Component::kTransformer)) return true;
    front_ = find(service_.transformer);
    return front_ != nullptr;
  }

  json::object predictor_route() const {
    json::object route{{"name", name_}, {"targets", targets()}};
    if (rescuer_ != nullptr) {
      route["fallbacks"] = fallbacks();
      // A circuit breaker is not waited for while somebody else can answer.
      const std::string longest = fmt::format("{}ms", kRescueWait);
      if (!typed_) route["retry"] = json::object{{"max_retry_after", longest}};
    }
    add_timeouts(route);
    return route;
  }

  // By which the service's own transformer and explainer ask its predictors.
  json::object inner_route(json::object route) const {
    route["name"] = name_ + "@predictor";
    route["match"] =
        json::object{{"prefix", predictor_path(draft_.settings.master, object_.ns, object_.name)}};
    route["public"] = true;
    route["listed"] = false;
    return route;
  }

  // Through the transformer, as to any other server.
  json::object front_route() const {
    json::object target{{"upstream", upstream_name(front_->object->ns, front_->object->name)},
                        {"weight", kWhole * kWhole}};
    json::object route{{"name", name_}, {"targets", json::array{std::move(target)}}};
    if (const std::string total = timeout(); !total.empty()) {
      route["timeouts"] = json::object{{"total", total}, {"first_byte", total}, {"idle", total}};
    }
    return route;
  }

  json::array upstreams() const {
    json::array out;
    out.reserve(targets_.size() + 2);
    for (const Branch& each : targets_) out.push_back(upstream(*each.revision));
    if (rescues_from_outside()) out.push_back(upstream(*rescuer_));
    if (front_ != nullptr) out.push_back(upstream(*front_));
    return out;
  }

  json::object upstream(const PlanRevision& revision) const {
    const bool typed = typed_ && &revision != front_;
    const control::StoredObject& object = *revision.object;
    const json::object& spec = spec_of(object);
    json::array endpoints;
    std::vector<PlanReplica> replicas = revision.replicas;
    std::ranges::sort(replicas, {}, &PlanReplica::name);
    for (const PlanReplica& each : replicas) {
      endpoints.push_back(json::object{{"name", each.name}, {"url", each.url}});
    }
    json::object out{{"name", upstream_name(object.ns, object.name)},
                     {"kind", typed ? "sluice" : "foreign"},
                     {"endpoints", std::move(endpoints)}};
    const bool ours = is_sluice_serve(spec);
    if (ours) {
      const DeploymentSecrets secrets =
          deployment_secrets(draft_.settings.master, object.ns, object.name);
      out[typed ? "internal_token" : "api_key"] =
          draft_.secret(typed ? secrets.internal_token : secrets.api_key);
    }
    const int64_t limit = integer_at(spec, "containerConcurrency").value_or(0);
    if (limit > 0) out["max_outstanding"] = std::min(limit, kMaxOutstanding);
    const bool rescued = rescuer_ != nullptr && object.name == service_.candidate;
    if (auto hold = hold_of(rescued); !hold.empty()) out["hold"] = std::move(hold);
    if (!ours) out["health"] = foreign_health(spec);
    return out;
  }

  // Another server is asked what its readiness probe asks; whoever runs it does the rest.
  static json::object foreign_health(const json::object& spec) {
    const std::string_view path = text_at(spec, "container.readinessProbe.httpGet.path");
    const bool with_headers =
        object_at(spec, "container.readinessProbe.httpGet") != nullptr &&
        control::array_at(spec, "container.readinessProbe.httpGet.httpHeaders") != nullptr;
    if (!path.starts_with('/') || with_headers || !is_plain(path)) return {{"active", false}};
    return {{"path", path}};
  }

  // Who waits at a revision that takes over is soon answered by the one before.
  json::object hold_of(bool rescued) const {
    int64_t wait =
        std::chrono::duration_cast<std::chrono::milliseconds>(draft_.settings.hold).count();
    if (const auto given = number_at(spec_, "sluice.wake.holdSeconds")) {
      wait = static_cast<int64_t>(std::llround(std::clamp(*given, 0.0, 600.0) * 1000));
    }
    const int64_t held =
        integer_at(spec_, "sluice.wake.maxHeld").value_or(draft_.settings.max_held);
    if (wait <= 0 || held <= 0) return {};
    if (rescued) wait = std::min(wait, kRescueWait);
    return {{"max_wait", fmt::format("{}ms", std::min<int64_t>(wait, kMaxHold))},
            {"max_held", std::min(held, kMaxHeld)}};
  }

  // Of a request; empty: not said.
  std::string timeout() const {
    const auto seconds = integer_at(spec_, "predictor.timeout");
    if (!seconds || *seconds <= 0) return {};
    return fmt::format("{}s", std::min(*seconds, kMaxTimeout));
  }

  void add_timeouts(json::object& route) const {
    const std::string text = timeout();
    if (text.empty()) return;
    json::object timeouts{{"total", text}};
    if (!typed_) {
      timeouts["first_byte"] = text;
      timeouts["idle"] = text;
    }
    route["timeouts"] = std::move(timeouts);
  }

  // The url of the component's first replica; empty while it has none.
  std::string replica_url(const std::string& revision) const {
    const PlanRevision* found = find(revision);
    if (found == nullptr || found->replicas.empty()) return {};
    return std::ranges::min_element(found->replicas, {}, &PlanReplica::name)->url;
  }

  json::object transform_of() const {
    json::object transform;
    const auto* transformer = object_at(spec_, "transformer");
    if (transformer == nullptr) return transform;
    const auto copy = [&](std::string_view from, std::string_view to) {
      const std::string_view text = text_at(*transformer, fmt::format("sluice.{}", from));
      if (!text.empty()) transform[to] = text;
    };
    copy("requestTemplate", "request_template");
    copy("responseTemplate", "response_template");
    copy("url", "url");
    return transform;
  }

  void add_explainer(json::object& route) const {
    const auto* explainer = object_at(spec_, "explainer");
    if (explainer == nullptr) return;
    json::object explain;
    if (runs(Component::kExplainer)) {
      const std::string url = replica_url(service_.explainer);
      if (url.empty()) return;
      explain["url"] = fmt::format("{}/v1/models/{}:explain", url, object_.name);
    } else {
      if (front_ != nullptr) explain["route"] = inner_->at("name");
      if (const auto what = text_at(*explainer, "sluice.segments"); !what.empty()) {
        explain["segments"] = what;
      }
      if (const auto most = integer_at(*explainer, "sluice.maxSegments")) {
        explain["max_segments"] = std::min(*most, kMaxSegments);
      }
    }
    route["explain"] = std::move(explain);
    if (!checked(route, "spec.explainer")) route.erase("explain");
  }

  // KServe's attributes of its events.
  json::object log_attributes(const json::object& logger) const {
    json::object out{{"inferenceservicename", object_.name},
                     {"namespace", object_.ns},
                     {"component", "predictor"},
                     {"endpoint", "default"}};
    json::object told;
    const auto* names = control::array_at(logger, "metadataAnnotations");
    for (size_t i = 0; names != nullptr && i < names->size(); ++i) {
      const auto* name = (*names)[i].if_string();
      const auto* annotations = object_at(object_.body, "metadata.annotations");
      const auto* value =
          name == nullptr || annotations == nullptr ? nullptr : annotations->if_contains(*name);
      if (value != nullptr) told[*name] = *value;
    }
    if (!told.empty()) out["annotations"] = sluice::to_json(told);
    return out;
  }

  void add_log(json::object& route) const {
    const auto* logger = object_at(spec_, "predictor.logger");
    if (logger == nullptr || text_at(*logger, "url").empty()) return;
    json::object log{{"url", text_at(*logger, "url")}, {"attributes", log_attributes(*logger)}};
    if (const auto mode = text_at(*logger, "mode"); !mode.empty()) log["mode"] = mode;
    if (const auto* headers = control::array_at(*logger, "metadataHeaders")) {
      log["headers"] = *headers;
    }
    route["log"] = std::move(log);
    if (!checked(route, "spec.predictor.logger")) route.erase("log");
  }

  void add_batcher(json::object& route) const {
    const auto* batcher = object_at(spec_, "predictor.batcher");
    if (batcher == nullptr) return;
    json::object batch;
    if (const auto most = integer_at(*batcher, "maxBatchSize")) {
      batch["max_instances"] = std::clamp<int64_t>(*most, 1, kMaxBatch);
    }
    if (const auto wait = integer_at(*batcher, "maxLatency")) {
      batch["max_latency"] = fmt::format("{}ms", std::clamp<int64_t>(*wait, 1, kMaxBatchWait));
    }
    if (const auto timeout = integer_at(*batcher, "timeout")) {
      batch["timeout"] = fmt::format("{}s", std::clamp<int64_t>(*timeout, 1, kMaxBatchTimeout));
    }
    route["batch"] = std::move(batch);
  }

  // What users write into templates and urls is read by the plan's own parser.
  bool checked(const json::object& route, std::string_view field) const {
    const bool theirs =
        route.contains("transform") || route.contains("explain") || route.contains("log");
    if (!theirs) return true;
    json::array routes{json::value(route)};
    if (inner_) routes.emplace_back(*inner_);
    const std::string refusal = draft_.refusal(upstreams(), routes);
    if (refusal.empty()) return true;
    draft_.problem(object_, fmt::format("{}: {}", field, refusal));
    return false;
  }

  PlanDraft& draft_;
  const PlanService& service_;
  const control::StoredObject& object_;
  const json::object& spec_;
  const std::string name_;
  std::vector<Branch> targets_;
  const PlanRevision* rescuer_ = nullptr;  // of the candidate; null: nobody
  bool typed_ = false;
  const PlanRevision* front_ = nullptr;  // the transformer's that takes the requests; null: none
  std::optional<json::object> inner_;    // to the predictors, where others of the service ask them
};

std::vector<const PlanService*> sorted_services(const PlanInput& input) {
  std::vector<const PlanService*> services;
  services.reserve(input.services.size());
  for (const PlanService& each : input.services) services.push_back(&each);
  std::ranges::sort(services, {}, [](const PlanService* each) {
    return std::pair(each->object->ns, each->object->name);
  });
  return services;
}

// Those that the servers of its revisions were given by their options.
void claim_further_names(PlanDraft& draft, const control::StoredObject& service,
                         const std::string& revision) {
  const PlanRevision* found = draft.find_revision(service.ns, revision);
  const auto* names =
      found == nullptr ? nullptr : control::array_at(spec_of(*found->object), "modelNames");
  for (size_t i = 0; names != nullptr && i < names->size(); ++i) {
    const auto* name = (*names)[i].if_string();
    if (name == nullptr || *name == service.name || !is_plain(*name)) continue;
    draft.names.claim_extra(service.ns, service.name, *name);
  }
}

}  // namespace

void claim_services(PlanDraft& draft) {
  const std::vector<const PlanService*> services = sorted_services(draft.input);
  for (const PlanService* each : services) {
    draft.names.claim(each->object->ns, each->object->name);
  }
  for (const PlanService* each : services) {
    std::set<std::string> revisions{each->candidate};
    for (const RevisionWeight& weight : each->predictor) revisions.insert(weight.revision);
    for (const PlanCanary& canary : each->canaries) revisions.insert(canary.revision);
    for (const std::string& name : revisions) claim_further_names(draft, *each->object, name);
  }
}

void add_services(PlanDraft& draft) {
  for (const PlanService* each : sorted_services(draft.input)) ServiceWriter(draft, *each).write();
}

}  // namespace sluice::platform
