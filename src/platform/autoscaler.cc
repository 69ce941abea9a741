#include "platform/autoscaler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/log.h"
#include "control/json_util.h"
#include "platform/process_sharing.h"
#include "platform/scale_trace.h"

namespace sluice::platform {

using control::Kpa;
using control::KpaOptions;

namespace {

constexpr int64_t kLate = 5;       // seconds that a gateway's report may come late
constexpr size_t kMaxFirst = 512;  // first tokens that one second is judged by
constexpr int kMaxReplicas = 1000;
constexpr double kPercent = 100;

int bounded(int64_t count) { return static_cast<int>(std::clamp<int64_t>(count, 0, kMaxReplicas)); }

const json::object& object_or_empty(const json::object& root, std::string_view path) {
  static const json::object empty;
  const auto* found = control::object_at(root, path);
  return found == nullptr ? empty : *found;
}

Component component_of(const control::StoredObject& revision) {
  const std::string_view name = control::text_at(revision.body, "spec.component");
  for (const Component each : {Component::kTransformer, Component::kExplainer}) {
    if (component_name(each) == name) return each;
  }
  return Component::kPredictor;
}

}  // namespace

void Autoscaler::wake(const std::vector<std::string>& upstreams) {
  {
    const std::lock_guard lock(mutex_);
    woken_.insert(upstreams.begin(), upstreams.end());
  }
  context_.queue.add({.kind = WorkKind::kScale, .ns = {}, .name = {}});
}

void Autoscaler::note(const std::string& ns, const std::string& service) {
  const std::lock_guard lock(mutex_);
  noted_.emplace(ns, service);
}

std::set<Autoscaler::ServiceName> Autoscaler::services_to_look_at(
    const std::set<std::string>& woken, bool all) {
  std::set<ServiceName> services;
  {
    const std::lock_guard lock(mutex_);
    services.swap(noted_);
  }
  if (all) {
    for (const ObjectPtr& service : context_.store().list(service_type(), {}).objects) {
      services.emplace(service->ns, service->name);
    }
    return services;
  }
  services.insert(awake_.begin(), awake_.end());
  for (const std::string& upstream : woken) {
    const size_t slash = upstream.find('/');
    if (slash == std::string::npos) continue;
    const std::string ns = upstream.substr(0, slash);
    const ObjectPtr revision =
        context_.store().get({&revision_type(), ns, upstream.substr(slash + 1)});
    if (!revision) continue;
    for (const ObjectPtr& service : services_of(context_.store(), *revision)) {
      services.emplace(ns, service->name);
    }
  }
  return services;
}

// In the order of the revisions' names, by which shares are given.
std::vector<Autoscaler::Entry> Autoscaler::entries(const std::set<ServiceName>& services) const {
  std::vector<Entry> entries;
  std::set<std::string> seen;  // uids: several services may share a revision
  for (const auto& [ns, name] : services) {
    const ObjectPtr service = context_.store().get({&service_type(), ns, name});
    if (!service) continue;
    for (ObjectPtr& revision : owned(context_.store(), *service, revision_type())) {
      const RevisionStatus status = revision_status(*revision);
      if (!status.has_role || revision->deleting() || !seen.insert(revision->uid).second) continue;
      entries.push_back(
          {.revision = std::move(revision), .status = status, .desired = status.desired});
    }
  }
  std::ranges::sort(entries, {}, [](const Entry& entry) {
    return std::pair<std::string_view, std::string_view>(entry.revision->ns, entry.revision->name);
  });
  return entries;
}

// Whatever has replicas, is to have some, or may want some by the clock.
void Autoscaler::keep_awake(const std::vector<Entry>& entries) {
  awake_.clear();
  for (const Entry& entry : entries) {
    const auto scaled = scaled_.find(entry.revision->uid);
    const bool by_clock =
        scaled != scaled_.end() && (scaled->second.kpa || !scaled->second.policy.schedules.empty());
    const RevisionStatus& status = entry.status;
    const bool zero = status.scaled && status.desired == 0 && status.granted == 0 &&
                      status.replicas == 0 && entry.desired == 0 && entry.floor == 0;
    if (zero && !by_clock) {
      if (scaled != scaled_.end()) scaled_.erase(scaled);
    } else {
      for (const ObjectPtr& service : services_of(context_.store(), *entry.revision)) {
        awake_.emplace(service->ns, service->name);
      }
    }
  }
}

void Autoscaler::forget_gone(const std::vector<Entry>& all) {
  std::set<std::string, std::less<>> alive;
  std::set<std::string, std::less<>> upstreams;
  for (const Entry& entry : all) {
    alive.insert(entry.revision->uid);
    upstreams.insert(upstream_name(entry.revision->ns, entry.revision->name));
  }
  std::erase_if(scaled_, [&](const auto& each) { return !alive.contains(each.first); });
  book_.keep_only(upstreams);
}

// Requests go through a transformer to its service's predictors: who waits for one of them will
// wait for the other.
void Autoscaler::assign_upstreams(std::vector<Entry>& entries) {
  const auto service_of = [](const Entry& entry) {
    return upstream_name(entry.revision->ns,
                         control::text_at(entry.revision->body, "spec.service"));
  };
  std::map<std::string, std::vector<std::string>> transformed;  // by service
  for (Entry& entry : entries) {
    entry.upstream = upstream_name(entry.revision->ns, entry.revision->name);
    entry.woken_by = {entry.upstream};
    if (component_of(*entry.revision) == Component::kTransformer) transformed[service_of(entry)];
  }
  if (transformed.empty()) return;
  for (const Entry& entry : entries) {
    const auto found = transformed.find(service_of(entry));
    if (found != transformed.end()) found->second.push_back(entry.upstream);
  }
  for (Entry& entry : entries) {
    const auto found = transformed.find(service_of(entry));
    if (found != transformed.end()) entry.woken_by = found->second;
  }
}

WorkDone Autoscaler::run() {
  std::set<std::string> woken;
  {
    const std::lock_guard lock(mutex_);
    woken.swap(woken_);
  }
  const TimePoint time = context_.clock().now();
  now_ = std::max(now_, static_cast<int64_t>(std::floor(context_.now())));
  const bool tick = !next_tick_ || time >= *next_tick_;
  if (tick) next_tick_ = time + context_.timing.tick;
  const bool everything = !next_resync_ || time >= *next_resync_;
  if (everything) next_resync_ = time + context_.timing.resync;
  std::vector<Entry> looked_at = entries(services_to_look_at(woken, everything));
  assign_upstreams(looked_at);
  for (Entry& entry : looked_at) {
    const bool is_woken =
        !woken.empty() && std::ranges::any_of(entry.woken_by, [&](const std::string& each) {
          return woken.contains(each);
        });
    decide(entry, tick, is_woken);
  }
  share(looked_at);
  bool well = true;
  for (const Entry& entry : looked_at) well = put(entry) && well;
  keep_awake(looked_at);
  if (everything) forget_gone(looked_at);
  try_waiting();
  if (!well) {
    // What woke them is not to be lost.
    const std::lock_guard lock(mutex_);
    woken_.merge(woken);
    for (const Entry& entry : looked_at) {
      for (const ObjectPtr& service : services_of(context_.store(), *entry.revision)) {
        noted_.emplace(service->ns, service->name);
      }
    }
    return WorkDone::retry();
  }
  return WorkDone::after(*next_tick_ - time);
}

KpaOptions Autoscaler::options_of(const Entry& entry, const Scaled& scaled) const {
  KpaOptions options = scaled.policy.kpa;
  int ceiling = entry.status.ceiling;
  const ReplicaNeeds needs = needs_of(*entry.revision);
  if (ceiling == 0 && needs.memory_bytes == 0 && needs.cpus <= 0) {
    // What does not say what it needs would always fit.
    ceiling = std::max(1, static_cast<int>(context_.backend.room().cpus));
    ceiling = std::max(ceiling, entry.floor);
  }
  options.max_scale = ceiling;
  options.min_scale = ceiling == 0 ? entry.floor : std::min(entry.floor, ceiling);
  options.initial_scale = options.min_scale;
  return options;
}

void Autoscaler::read_policy(const Entry& entry, Scaled& scaled) const {
  const ObjectPtr service = policy_service(context_.store(), *entry.revision);
  if (!service) return;
  if (scaled.service_uid == service->uid && scaled.service_version == service->version) return;
  const Component component = component_of(*entry.revision);
  const json::object& spec = object_or_empty(service->body, "spec");
  scaled.policy = scale_policy(spec, object_or_empty(spec, component_name(component)), component);
  scaled.service_uid = service->uid;
  scaled.service_version = service->version;
}

// After a rollout the serving revision keeps, for a stable window, what it had to have before: its
// own load of that time was a part of the service's only.
int Autoscaler::floor_of(const Entry& entry, Scaled& scaled) const {
  const RevisionStatus& status = entry.status;
  int floor = status.floor;
  if (status.role != RevisionRole::kCanary) {
    const int scheduled = scheduled_minimum(scaled.policy.schedules, context_.now());
    floor = std::max(floor, static_cast<int>(std::ceil(scheduled * status.traffic / kPercent)));
  }
  auto& floors = scaled.floors;
  while (!floors.empty() && floors.back().second <= floor) floors.pop_back();
  floors.emplace_back(now_, floor);
  const int64_t oldest = now_ - scaled.policy.kpa.stable_window.count();
  while (floors.front().first < oldest) floors.pop_front();
  const bool alone = status.role == RevisionRole::kServing && status.traffic == 100;
  if (alone) floor = floors.front().second;
  return status.ceiling == 0 ? floor : std::min(floor, status.ceiling);
}

void Autoscaler::decide(Entry& entry, bool tick, bool woken) {
  const RevisionStatus& status = entry.status;
  const std::string& uid = entry.revision->uid;
  if (status.role == RevisionRole::kRetired) {
    scaled_.erase(uid);
    entry.desired = 0;
    return;
  }
  Scaled& scaled = scaled_[uid];
  read_policy(entry, scaled);
  entry.floor = floor_of(entry, scaled);
  KpaOptions options = options_of(entry, scaled);
  const bool sleeps = status.scaled && status.desired == 0;
  if (sleeps && entry.floor == 0 && !woken) {
    scaled.kpa.reset();
    entry.desired = 0;
    return;
  }
  if (sleeps) scaled.kpa.reset();
  bool fresh = false;
  if (!scaled.kpa) {
    fresh = true;
    if (woken) {
      const int most = options.max_scale == 0 ? kMaxReplicas : options.max_scale;
      options.initial_scale = std::clamp(scaled.policy.activation, 1, most);
    }
    begin(entry, scaled, options);
  } else if (options.initial_scale = scaled.kpa->options().initial_scale;
             !(scaled.kpa->options() == options)) {
    if (options.max_scale != 0) {
      options.initial_scale = std::min(options.initial_scale, options.max_scale);
    }
    scaled.kpa->configure(options, Seconds(now_));
    trace_options(entry, options, "changed");
    fresh = true;
  }
  if (tick || fresh) judge(entry, scaled);
  const int ceiling = options.max_scale == 0 ? kMaxReplicas : options.max_scale;
  entry.desired = std::clamp(entry.desired, options.min_scale, ceiling);
}

void Autoscaler::begin(const Entry& entry, Scaled& scaled, const KpaOptions& options) const {
  scaled.kpa = std::make_unique<Kpa>(options);
  scaled.fed = now_ - scaled.policy.kpa.stable_window.count();
  scaled.told.clear();
  const bool resumes = entry.status.scaled && entry.status.desired > 0;
  if (resumes) scaled.kpa->resume(Seconds(now_), entry.status.desired);
  // The panic that it then begins with is nothing that happened.
  scaled.panicking = resumes && entry.status.desired > 1;
  trace_options(entry, options, resumes ? "resumed" : "new");
}

void Autoscaler::trace_options(const Entry& entry, const KpaOptions& options,
                               std::string_view how) {
  if (!log_enabled(LogLevel::kDebug)) return;
  log_debug("{} {} {}", kScaleTrace, upstream_name(entry.revision->ns, entry.revision->name),
            options_line(options, how));
}

void Autoscaler::judge(Entry& entry, Scaled& scaled) {
  hear(entry, scaled);
  const std::map<int64_t, double> loads = loads_since(entry, scaled);
  for (const auto& [second, load] : loads) {
    scaled.kpa->record(Seconds(now_), Seconds(second), load);
  }
  scaled.fed = now_;
  const KpaOptions& options = scaled.kpa->options();
  const control::KpaDecision decision = scaled.kpa->decide(Seconds(now_), entry.status.ready);
  entry.desired = bounded(decision.desired);
  if (log_enabled(LogLevel::kDebug)) {
    log_debug(
        "{} {} {}", kScaleTrace, upstream_name(entry.revision->ns, entry.revision->name),
        decision_line({.now = now_, .samples = loads, .ready = entry.status.ready}, decision));
  }
  if (std::exchange(scaled.panicking, decision.panicking) == decision.panicking) return;
  context_.tell(entry.revision, control::EventKind::kNormal,
                decision.panicking ? "PanicBegun" : "PanicEnded",
                fmt::format("a load of {:.2f} over {} s and {:.2f} over {} s, at {:.2f} for each "
                            "replica, wants {}; {} are ready",
                            decision.panic_average.value_or(0), options.panic_window.count(),
                            decision.stable_average.value_or(0), options.stable_window.count(),
                            options.target, entry.desired, entry.status.ready));
}

// What the replicas tell now is for the seconds since the last look. Those before keep what was
// told then, also where a gateway tells of them late.
void Autoscaler::hear(const Entry& entry, Scaled& scaled) const {
  Told told{.ready = entry.status.ready};
  const bool asked = scaled.policy.metric == ScaleMetric::kQueuedTokens ||
                     scaled.policy.metric == ScaleMetric::kKvCache;
  if (asked && signals_ != nullptr) {
    for (const ObjectPtr& replica : owned(context_.store(), *entry.revision, replica_type())) {
      if (!is_serving(*replica)) continue;
      const auto signals = signals_->latest({.url = replica_state(*replica).url,
                                             .ns = replica->ns,
                                             .revision = entry.revision->name});
      if (!signals) continue;
      told.queued_tokens += signals->queued_tokens;
      told.uses.push_back({signals->kv_used_tokens, signals->kv_capacity_tokens});
    }
  }
  scaled.told.insert_or_assign(scaled.fed, std::move(told));
  const int64_t oldest = now_ - scaled.policy.kpa.stable_window.count() - kLate;
  while (scaled.told.size() > 1 && std::next(scaled.told.begin())->first <= oldest) {
    scaled.told.erase(scaled.told.begin());
  }
}

const Autoscaler::Told& Autoscaler::told_at(const Scaled& scaled, int64_t second) {
  const auto after = scaled.told.upper_bound(second);
  return after == scaled.told.begin() ? after->second : std::prev(after)->second;
}

std::map<int64_t, double> Autoscaler::loads_since(const Entry& entry, Scaled& scaled) const {
  const int64_t oldest = now_ - scaled.policy.kpa.stable_window.count();
  std::map<int64_t, double> loads;
  if (scaled.policy.metric == ScaleMetric::kCpu || scaled.policy.metric == ScaleMetric::kMemory) {
    const double load = usage_load(entry, scaled);
    for (int64_t second = std::max(scaled.fed, oldest); second < now_; ++second) {
      loads[second] = load;
    }
    return loads;
  }
  const int64_t from = std::max(scaled.fed - kLate, oldest);
  for (const LoadSecond& second : book_.seconds(entry.upstream, from, now_, context_.now())) {
    loads[second.second] += load_of(scaled, second);
  }
  return loads;
}

// The first tokens of a second, and who still waits. Of many, so few that each bucket keeps its
// share. A late one counts the replicas of the time when its request came.
double Autoscaler::ttft_load(const Scaled& scaled, const LoadSecond& second) {
  using std::chrono::nanoseconds;
  constexpr double kMsPerSecond = 1e3;
  const auto ms = [](double value) { return nanoseconds(static_cast<int64_t>(value * 1e6)); };
  std::vector<control::FirstToken> seen;
  const double share =
      std::min(1.0, static_cast<double>(kMaxFirst) /
                        static_cast<double>(std::max<uint64_t>(1, second.ttft.count())));
  for (const auto& [bucket, count] : second.ttft.buckets()) {
    const double middle = std::sqrt(plan::LogHistogram::lower_bound(bucket) *
                                    plan::LogHistogram::lower_bound(bucket + 1));
    const auto some = static_cast<size_t>(std::ceil(static_cast<double>(count) * share));
    const int64_t came = second.second - static_cast<int64_t>(middle / kMsPerSecond);
    seen.insert(seen.end(), some, {ms(middle), told_at(scaled, came).ready});
  }
  for (const plan::WaitingRequest& each : second.waiting_first) {
    seen.push_back({std::chrono::milliseconds(each.waited_ms), static_cast<int>(each.usable)});
  }
  return control::first_token_load(seen, ms(scaled.policy.target), second.in_flight);
}

double Autoscaler::load_of(const Scaled& scaled, const LoadSecond& second) {
  const ScalePolicy& policy = scaled.policy;
  switch (policy.metric) {
    case ScaleMetric::kRps:
      return static_cast<double>(second.arrived);
    case ScaleMetric::kTtft:
      return ttft_load(scaled, second);
    case ScaleMetric::kQueuedTokens:
    case ScaleMetric::kKvCache:
      break;
    case ScaleMetric::kConcurrency:
    case ScaleMetric::kCpu:
    case ScaleMetric::kMemory:
      return second.concurrency;
  }
  // What waits in the gateway is as long as what was answered, where nothing better is known.
  constexpr int64_t kUsualPrompt = 512;
  const int64_t prompt = second.arrived > 0 && second.prompt_tokens > 0
                             ? second.prompt_tokens / second.arrived
                             : kUsualPrompt;
  const int64_t waiting = second.held * std::max<int64_t>(prompt, 1);
  const Told& told = told_at(scaled, second.second);
  if (policy.metric == ScaleMetric::kQueuedTokens) {
    return control::queued_token_load(told.queued_tokens + waiting, policy.target,
                                      second.in_flight);
  }
  return control::kv_load(told.uses, waiting, policy.target, second.in_flight);
}

double Autoscaler::usage_load(const Entry& entry, Scaled& scaled) const {
  const ReplicaNeeds needs = needs_of(*entry.revision);
  const double share = scaled.policy.target / kPercent;
  const double now = context_.now();
  double load = 0;
  std::map<std::string, std::pair<double, double>> seen;
  for (const ObjectPtr& replica : owned(context_.store(), *entry.revision, replica_type())) {
    const auto view = context_.backend.find(replica_id(replica->ns, replica->name));
    if (!view || view->phase == ReplicaPhase::kExited) continue;
    if (scaled.policy.metric == ScaleMetric::kMemory) {
      const auto asked = static_cast<double>(needs.memory_bytes);
      if (asked > 0) load += static_cast<double>(view->memory_bytes) / (asked * share);
      continue;
    }
    seen[replica->name] = {now, view->cpu_seconds};
    const auto before = scaled.cpu.find(replica->name);
    if (before == scaled.cpu.end() || needs.cpus <= 0) continue;
    const auto [since, used] = before->second;
    if (now > since) {
      load += std::max(0.0, view->cpu_seconds - used) / (now - since) / (needs.cpus * share);
    }
  }
  scaled.cpu = std::move(seen);
  return load;
}

void Autoscaler::share(std::vector<Entry>& entries) const {
  const auto owners_of = [](const Entry& entry) {
    const auto uids = owner_uids(*entry.revision, service_type().kind);
    return std::set<std::string>(uids.begin(), uids.end());
  };
  std::set<std::string> replaced;  // uids of services
  for (const Entry& entry : entries) {
    if (entry.status.role != RevisionRole::kCandidate) continue;
    replaced.merge(owners_of(entry));
  }
  const auto is_replaced = [&](const Entry& entry) {
    return std::ranges::any_of(owners_of(entry),
                               [&](const std::string& uid) { return replaced.contains(uid); });
  };
  std::vector<RoomClaim> claims;
  claims.reserve(entries.size());
  for (const Entry& entry : entries) {
    if (entry.desired == 0) {
      claims.push_back({});
      continue;
    }
    claims.push_back({.needs = needs_of(*entry.revision),
                      .desired = entry.desired,
                      .floor = std::min(entry.floor, entry.desired),
                      .running = entry.status.replicas,
                      // What never worked does not keep out what is to take its place.
                      .yields = entry.status.role == RevisionRole::kServing &&
                                !entry.status.proven && is_replaced(entry)});
  }
  const std::vector<int> shares = share_room(claims, context_.backend.room());
  for (size_t i = 0; i < entries.size(); ++i) entries[i].granted = shares[i];
}

bool Autoscaler::put(const Entry& entry) {
  RevisionStatus status = entry.status;
  if (status.scaled && status.desired == entry.desired && status.granted == entry.granted) {
    return true;
  }
  if (status.scaled && status.desired != entry.desired) {
    context_.tell(entry.revision, control::EventKind::kNormal,
                  entry.desired > status.desired ? "ScaledUp" : "ScaledDown",
                  fmt::format("from {} to {} replicas", status.desired, entry.desired));
  }
  status.scaled = true;
  status.desired = entry.desired;
  status.granted = entry.granted;
  return !put_status(context_, entry.revision, with_revision_status(*entry.revision, status))
              .failed;
}

// Replicas that wait until others have gone.
void Autoscaler::try_waiting() {
  for (const ObjectPtr& replica : context_.store().list(replica_type(), {}).objects) {
    const auto ready = find_condition(*replica, "Ready");
    if (ready && ready->reason == kInsufficientRoom) {
      context_.queue.add({.kind = WorkKind::kReplica, .ns = replica->ns, .name = replica->name});
    }
  }
}

}  // namespace sluice::platform
