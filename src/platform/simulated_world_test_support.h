// SimulatedWorld: objects in memory, a simulated backend, gateways that report loads, users who
// change things, and a controller that is destroyed and built anew: everything by one seed and a
// clock turned by hand. After every step what must always hold is checked.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "control/json_util.h"
#include "control/object_store.h"
#include "control/objects.h"
#include "platform/platform_core.h"
#include "platform/runtime_choice.h"
#include "platform/simulated_backend_test_support.h"
#include "platform/views.h"

namespace sluice::platform {

inline constexpr uint64_t kMiB = 1u << 20;

// What users want; put into the objects as they would.
struct SimulatedService {
  std::string name;
  int version = 1;
  std::string flag = {};  // --crash, --never-ready: of the newest version
  int min = 1;
  int max = 3;
  int memory_mib = 256;
  std::string rollout = {};  // JSON of spec.sluice.rollout; empty: none
  std::string scaling = {};  // likewise of spec.sluice.scaling
  std::optional<int> percent = {};
  bool stopped = false;
  int canary_version = 0;  // 0: there is no canary
  int canary_percent = 0;
  bool transformer = false;
  int transformer_min = 1;
  bool shares = false;     // its process; its versions are other models then
  std::string model = {};  // the uri, in place of that of its version

  json::object resources() const {
    const json::object memory{{"memory", std::to_string(memory_mib) + "Mi"}};
    return {{"requests", memory}, {"limits", memory}};
  }

  json::object predictor_of(int number) const {
    json::array args{"--seed", std::to_string(shares ? 0 : number)};
    if (!flag.empty()) args.emplace_back(flag);
    std::string uri = "hf://owner/" + name + (shares ? "-" + std::to_string(number) : "");
    if (!model.empty()) uri = model;
    json::object fields{{"modelFormat", json::object{{"name", "gguf"}}},
                        {"storageUri", std::move(uri)},
                        {"args", std::move(args)},
                        {"resources", resources()}};
    return {{"terminationGracePeriodSeconds", 20}, {"model", std::move(fields)}};
  }

  json::object body() const {
    json::object predictor = predictor_of(version);
    predictor["minReplicas"] = min;
    predictor["maxReplicas"] = max;
    if (percent) predictor["canaryTrafficPercent"] = *percent;
    json::object spec{{"predictor", std::move(predictor)}};
    json::object own;
    if (!rollout.empty()) own["rollout"] = *parse_json(rollout);
    if (!scaling.empty()) own["scaling"] = *parse_json(scaling);
    if (shares) own["shareProcess"] = true;
    if (!own.empty()) spec["sluice"] = std::move(own);
    if (canary_version > 0) {
      json::object canary = predictor_of(canary_version);
      canary["name"] = "next";
      spec["canary"] = json::array{
          json::object{{"trafficPercent", canary_percent}, {"predictor", std::move(canary)}}};
    }
    if (transformer) {
      json::array command{"sluice", "serve", "--seed", std::to_string(version)};
      json::object container{{"name", "t"}, {"command", command}, {"resources", resources()}};
      json::object component{{"minReplicas", transformer_min}, {"containers", json::array()}};
      component["containers"].as_array().push_back(std::move(container));
      spec["transformer"] = std::move(component);
    }
    json::object metadata{{"name", name}};
    if (stopped) {
      metadata["annotations"] = json::object{{"serving.kserve.io/stop", "true"}};
    }
    return {{"metadata", std::move(metadata)}, {"spec", std::move(spec)}};
  }
};

// What replicas tell of themselves, as a test has it.
struct SimulatedSignals : SignalSource {
  std::optional<ReplicaSignals> latest(const SignalTarget& target) override {
    return told ? told(target) : std::nullopt;
  }
  std::function<std::optional<ReplicaSignals>(const SignalTarget& target)> told;
};

class SimulatedWorld {
 public:
  explicit SimulatedWorld(uint64_t seed)
      : rng_(seed), backend_(clock_, Rng(seed ^ 0xBAC0), room(seed)) {
    auto store = control::ObjectStore::open_in_memory();
    store_ = *std::move(store);
    objects_ = std::make_unique<control::Objects>(*store_, control::AdmissionPolicy{}, clock_);
    EXPECT_TRUE(objects_->bootstrap().has_value());
    EXPECT_TRUE(ensure_built_in_runtime(*objects_).has_value());
    recipes_ = std::make_unique<Recipes>(
        *store_, [this](const std::string& uri, const std::string&) { return model(uri); },
        RecipeOptions{.sluice_program = "/usr/bin/sluice",
                      .master = std::string(64, 'k'),
                      .check_model = [this](const std::string& path) { return read(path); }});
    backend_.on_call = [this] { maybe_die(); };
    backend_.before_drain = [this](const std::string& id) { check_drain(id); };
    watch_replicas();
    watch_services();
    if (std::getenv("SLUICE_SIM_TRACE") != nullptr) trace();
    build();
  }
  ~SimulatedWorld() { core_.reset(); }

  // One step of the controller, or of time.
  void step() {
    ++steps_;
    alive_for_ = rng_.chance(dies_) ? static_cast<int>(rng_.below(12)) : -1;
    try {
      if (!core_->step()) {
        alive_for_ = -1;
        if (!take_plan()) advance();
      }
    } catch (const Died&) {
      crash();
    }
    alive_for_ = -1;
    check();
  }

  // One step of the controller, if there is something to do now.
  bool act() {
    const bool acted = core_->step() || take_plan();
    check();
    return acted;
  }

  void crash() {
    core_.reset();
    ++crashes_;
    build();
  }

  // `dies`: the controller, in the middle of a step.
  void set_faults(const SimulatedFaults& faults, double publish_fails, double dies) {
    backend_.faults = faults;
    dies_ = dies;
    publish_fails_ = publish_fails;
  }

  // What users do, also at the same time as the controller writes.
  void apply(const SimulatedService& service) {
    wanted_[service.name] = service;
    const control::ObjectKey key{&service_type(), "default", service.name};
    if (const auto present = store_->get(key)) {
      json::object body = present->body;
      json::object fresh = service.body();
      body["spec"] = fresh["spec"];
      json::object& metadata = control::object_of(body, "metadata");
      metadata.erase("annotations");
      if (service.stopped) metadata["annotations"] = fresh["metadata"].at("annotations");
      must(objects_->update(key, control::Subresource::kNone, std::move(body), user()));
    } else {
      must(objects_->create(service_type(), "default", service.body(), user()));
    }
  }
  void remove(const std::string& name) {
    wanted_.erase(name);
    // Another one of the name has nothing to lose.
    std::erase_if(routes_, [&](const auto& each) { return service_of(each.first) == name; });
    static_cast<void>(objects_->remove({&service_type(), "default", name}, {}));
  }
  void remove_a_replica() {
    const auto all = store_->list(replica_type(), {}).objects;
    if (all.empty()) return;
    const auto& one = all[rng_.below(all.size())];
    deleted_by_user_.insert(replica_id(one->ns, one->name));
    static_cast<void>(objects_->remove(control::key_of(*one), {}));
  }
  // Requests that wait for a service.
  void wake(const std::string& name) {
    const auto service = store_->get({&service_type(), "default", name});
    if (!service || !core_) return;
    const auto* weights = control::array_at(service->body, "status.sluice.weights");
    for (size_t i = 0; weights != nullptr && i < weights->size(); ++i) {
      core_->wake(
          {"default/" + std::string(control::text_at((*weights)[i].as_object(), "revision"))});
    }
  }
  void set_load(const std::string& name, double concurrency) { loads_[name] = concurrency; }
  // Each second's requests had their first token after so long; 0: none had.
  void set_first_token(double ms) { first_token_ms_ = ms; }
  SimulatedSignals& signals() { return signals_; }
  void set_models_slow(bool slow) { models_slow_ = slow; }
  void set_large(std::string uri) { large_ = std::move(uri); }
  void set_unreadable(std::string uri) { unreadable_ = std::move(uri); }
  void hold_plans(bool held) { plans_held_ = held; }

  Rng& rng() { return rng_; }
  ManualClock& clock() { return clock_; }
  SimulatedBackend& backend() { return backend_; }
  control::ObjectStore& store() { return *store_; }
  control::Objects& objects() { return *objects_; }
  // Some of what is asked for cannot be served.
  void want_problems() { problems_wanted_ = true; }
  const std::map<std::string, SimulatedService>& wanted() const { return wanted_; }
  const std::map<std::string, std::set<std::string>>& endpoints() const { return endpoints_; }
  // Replicas that the plan sends the service's requests to.
  size_t usable(const std::string& service) const {
    size_t count = 0;
    const auto route = routes_.find("default/" + service);
    if (route == routes_.end()) return 0;
    for (const auto& [upstream, share] : route->second) {
      const auto urls = endpoints_.find(upstream);
      if (share > 0 && urls != endpoints_.end()) count += urls->second.size();
    }
    return count;
  }
  int64_t steps() const { return steps_; }
  int64_t crashes() const { return crashes_; }
  int64_t plans() const { return plans_; }
  int64_t drains() const { return drains_; }
  int64_t reached() const { return reached_; }
  // Names, each time that a service was reconciled.
  const std::vector<std::string>& looks_at_services() const { return looks_; }

 private:
  struct Died {};
  using Targets = std::map<std::string, double>;  // share by upstream
  using Routes = std::map<std::string, Targets>;

  // The process is gone wherever it was: nothing of it is cleaned up.
  void maybe_die() {
    if (alive_for_ < 0) return;
    --alive_for_;
    if (alive_for_ < 0) throw Died();
  }

  static MachineRoom room(uint64_t seed) {
    Rng rng(seed ^ 0x5EED);
    return {.memory_bytes = static_cast<uint64_t>(rng.between(4, 16)) * 256 * kMiB, .cpus = 64};
  }
  static control::WriteOptions user() {
    return {.who = {"user", control::Role::kAdmin}, .manager = "user"};
  }
  static void must(const control::ApiResult<control::Written>& written) {
    EXPECT_TRUE(written.has_value()) << (written ? "" : written.error().message);
  }

  ModelView model(const std::string& uri) {
    maybe_die();
    if (models_slow_ && !pulled_.contains(uri)) {
      const auto [at, first] = pulls_.emplace(uri, clock_.now() + std::chrono::seconds(3));
      if (clock_.now() < at->second) return pulling();
    }
    pulled_.insert(uri);
    ModelView view;
    view.phase = ModelPhase::kReady;
    view.path = "/models/" + uri;
    return view;
  }
  Result<int64_t> read(const std::string& path) const {
    if (path == "/models/" + large_) return int64_t{49} << 20;
    if (path != "/models/" + unreadable_) return 1 << 20;
    return fail(Code::kDataLoss, "the file is cut off");
  }
  static ModelView pulling() {
    ModelView view;
    view.phase = ModelPhase::kPulling;
    view.total = 100;
    return view;
  }

  void build() {
    CoreOptions options{.seed = rng_.next()};
    options.timing.max_restart = std::chrono::seconds(20);
    options.plan.secrets_folder = "/run/secrets";
    options.plan.master = std::string(64, 'k');
    options.hooks.url = [this](const std::string&, const std::string& name) {
      looks_.push_back(name);
      maybe_die();
      return "http://" + name;
    };
    options.publish = [this](const PlanText& plan) { return publish(plan); };
    options.signals = &signals_;
    core_ =
        std::make_unique<PlatformCore>(*objects_, backend_, *recipes_, book_, std::move(options));
    EXPECT_TRUE(core_->begin().has_value());
  }

  // What was published last comes into force; false: it is already.
  bool take_plan() {
    if (plans_held_ || !published_ || *published_ == taken_plan_) return false;
    taken_plan_ = *published_;
    taken_services_ = published_services_;
    tell_plan();
    return true;
  }
  void tell_plan() {
    core_->told(book_.take({.gateway = "g", .plan_id = taken_plan_}, clock_.unix_seconds()));
  }

  // To the next thing that happens, a second at most: then the gateways report.
  void advance() {
    const TimePoint second = next_second_;
    TimePoint to = second;
    if (const auto due = core_->queue().next_due()) to = std::min(to, *due);
    if (const auto next = backend_.next()) to = std::min(to, *next);
    if (to > clock_.now()) clock_.advance(to - clock_.now());
    backend_.turn();
    for (auto it = pulls_.begin(); it != pulls_.end();) {
      if (clock_.now() < it->second) {
        ++it;
        continue;
      }
      core_->model_changed(it->first);
      pulled_.insert(it->first);
      it = pulls_.erase(it);
    }
    if (clock_.now() < second) return;
    next_second_ = second + std::chrono::seconds(1);
    backend_.maybe_crash();
    report();
  }

  // Every known upstream, also those without load; who has load and nobody to take it, wakes.
  void report() {
    plan::LoadReport report{.gateway = "g",
                            .second = static_cast<int64_t>(clock_.unix_seconds()) - 1,
                            .upstreams = {},
                            .wake = {}};
    for (const auto& [upstream, urls] : endpoints_) {
      double weight = 0;
      double load = 0;
      for (const auto& [route, targets] : routes_) {
        const auto share = targets.find(upstream);
        if (share == targets.end() || route.ends_with("@host")) continue;
        weight += share->second;
        const auto concurrency = loads_.find(service_of(route));
        if (concurrency != loads_.end()) load += concurrency->second * share->second;
      }
      plan::UpstreamLoad told;
      told.name = upstream;
      told.concurrency = load;
      // Now and then somebody asks, so that rollouts have something to judge by.
      if (!urls.empty() && weight > 0) told.arrived = told.answered = 3;
      if (!urls.empty() && first_token_ms_ > 0) told.ttft.add(first_token_ms_, 3);
      if (urls.empty() && load > 0) told.held = static_cast<int64_t>(load) + 1;
      report.upstreams.push_back(std::move(told));
    }
    core_->told(book_.take(report, clock_.unix_seconds()));
    if (!taken_plan_.empty()) tell_plan();
  }

  Result<bool> publish(const PlanText& plan) {
    maybe_die();
    if (rng_.chance(publish_fails_)) return fail(Code::kResourceExhausted, "the disk is full");
    ++plans_;
    const auto parsed = parse_json(plan.text);
    EXPECT_TRUE(parsed.has_value());
    if (!parsed) return false;
    EXPECT_TRUE(problems_wanted_ || plan.problems.empty()) << plan.problems.front().message;
    read_plan(parsed->as_object());
    published_ = plan.id;
    published_services_ = {plan.services.begin(), plan.services.end()};
    return true;
  }

  void read_plan(const json::object& plan) {
    std::map<std::string, std::set<std::string>> endpoints;
    for (const json::value& each : plan.at("upstreams").as_array()) {
      const json::object& upstream = each.as_object();
      auto& urls = endpoints[std::string(control::text_at(upstream, "name"))];
      for (const json::value& endpoint : upstream.at("endpoints").as_array()) {
        const std::string url(control::text_at(endpoint.as_object(), "url"));
        EXPECT_TRUE(urls.insert(url).second) << "two endpoints at " << url;
      }
    }
    Routes routes;
    for (const json::value& each : plan.at("routes").as_array()) {
      const json::object& route = each.as_object();
      const std::string name(control::text_at(route, "name"));
      const auto known = routes_.find(name);
      const Targets before = known == routes_.end() ? Targets() : known->second;
      Targets& now = routes[name];
      int64_t sum = 0;
      bool moved = false;
      bool other_serves = false;
      bool through_transformer = false;
      for (const json::value& item : route.at("targets").as_array()) {
        const json::object& target = item.as_object();
        const int64_t weight = control::integer_at(target, "weight").value_or(0);
        sum += weight;
        const std::string upstream(control::text_at(target, "upstream"));
        const double share = static_cast<double>(weight) / 10'000;
        now[upstream] = share;
        // A service's requests may go through its transformer, which sleeps on its own.
        through_transformer = through_transformer || upstream.contains("-transformer-");
        const auto had = before.find(upstream);
        const bool more = weight > 0 && (had == before.end() || share > had->second);
        moved = moved || (more && endpoints[upstream].empty());
      }
      for (const auto& [upstream, share] : before) {
        // A canary has its own part, and answers for nobody else's.
        const bool main = upstream.contains("-predictor-") && !upstream.contains("-next-");
        other_serves = other_serves || (main && share > 0 && !endpoints[upstream].empty());
      }
      EXPECT_EQ(sum, 10'000) << json::serialize(route);
      EXPECT_FALSE(moved && other_serves && !through_transformer)
          << "traffic moved to where nobody is: " << json::serialize(route) << " from "
          << testing::PrintToString(before);
    }
    endpoints_ = std::move(endpoints);
    routes_ = std::move(routes);
  }

  // "default/NAME", maybe with "@predictor" behind.
  static std::string service_of(const std::string& route) {
    const size_t slash = route.find('/') + 1;
    return route.substr(slash, route.find('@') - slash);
  }

  // A replica that takes requests ends: is it out of the plan?
  void check_drain(const std::string& id) {
    ++drains_;
    const ReplicaName name = replica_name(id);
    const auto replica = store_->get({&replica_type(), name.ns, name.name});
    const auto all = backend_.list();
    const auto view = std::ranges::find(all, id, &ReplicaView::id);
    if (!replica || view == all.end()) return;
    const bool may_be_planned = publish_fails_ > 0;
    for (const auto& [upstream, urls] : endpoints_) {
      if (!may_be_planned) EXPECT_FALSE(urls.contains(view->url)) << id << " is in the plan";
    }
  }

  // The platform gave up a replica that took requests: do others do its work?
  void check_given_up(const control::StoredObject& replica) {
    if (deleted_by_user_.contains(replica_id(replica.ns, replica.name))) return;
    const std::string name(control::text_at(replica.body, "spec.revision"));
    const auto revision = store_->get({&revision_type(), replica.ns, name});
    if (!revision || revision->uid != owner_uid(replica, "Revision")) return;
    const RevisionStatus status = revision_status(*revision);
    if (status.role != RevisionRole::kServing || status.traffic == 0 || status.granted == 0) return;
    int serving = 0;
    for (const auto& each : owned(*store_, *revision, replica_type())) {
      serving += is_serving(*each) ? 1 : 0;
    }
    EXPECT_GT(serving, 0) << replica.name << " was the last of a revision that has requests";
  }

  // Every change, for whoever looks into a seed.
  void trace() {
    const auto watched =
        store_->subscribe(nullptr, store_->version(), [this](const control::Change& change) {
          if (!change.object) return true;
          const control::StoredObject& object = *change.object;
          const auto* spec = control::object_at(object.body, "spec");
          const auto* status = control::object_at(object.body, "status");
          std::cerr << to_seconds(clock_.now() - TimePoint{}) << " "
                    << (change.kind == control::ChangeKind::kAdded     ? "+"
                        : change.kind == control::ChangeKind::kDeleted ? "-"
                                                                       : "~")
                    << object.type->kind << " " << object.name
                    << (object.deleting() ? " deleting " : " ");
          if (object.type == &service_type() && spec) std::cerr << json::serialize(*spec) << " ";
          if (object.type->ephemeral) std::cerr << control::text_at(object.body, "message");
          if (status) std::cerr << json::serialize(*status);
          std::cerr << "\n";
          return true;
        });
    EXPECT_TRUE(watched.has_value());
  }

  // Who is told that a service is reached, reaches it.
  void watch_services() {
    const auto watched = store_->subscribe(
        &service_type(), store_->version(), [this](const control::Change& change) {
          if (change.kind != control::ChangeKind::kModified || !change.object) return true;
          const auto reached = [](const control::ObjectPtr& service) {
            const auto found = find_condition(*service, "IngressReady");
            return found && found->status == "True";
          };
          if (!reached(change.object) || reached(change.before)) return true;
          EXPECT_TRUE(taken_services_.contains(control::key_of(*change.object)))
              << change.object->name << " is not reached, and said to be";
          ++reached_;
          return true;
        });
    EXPECT_TRUE(watched.has_value());
  }

  void watch_replicas() {
    const auto watched = store_->subscribe(
        &replica_type(), store_->version(), [this](const control::Change& change) {
          if (!change.object) return true;
          const auto drains = [](const control::ObjectPtr& replica) {
            return control::text_at(replica->body, "status.phase") == "Draining";
          };
          if (change.kind == control::ChangeKind::kAdded) created_.push_back(change.object);
          if (change.kind == control::ChangeKind::kModified && drains(change.object) &&
              control::text_at(change.before->body, "status.phase") == "Ready") {
            given_up_.push_back(change.object);
          }
          return true;
        });
    EXPECT_TRUE(watched.has_value());
  }

  void check() {
    for (const auto& replica : std::exchange(created_, {})) check_count(*replica);
    for (const auto& replica : std::exchange(given_up_, {})) check_given_up(*replica);
    for (const auto& service : store_->list(service_type(), {}).objects) {
      const auto* traffic = control::array_at(service->body, "status.components.predictor.traffic");
      if (traffic == nullptr || traffic->empty()) continue;
      int64_t sum = 0;
      for (const json::value& each : *traffic) {
        sum += control::integer_at(each.as_object(), "percent").value_or(0);
      }
      EXPECT_EQ(sum, 100) << service->text;
    }
    std::set<std::string> urls;
    for (const ReplicaView& view : backend_.list()) {
      if (view.phase == ReplicaPhase::kExited) continue;
      EXPECT_TRUE(urls.insert(view.url).second) << "two replicas at " << view.url;
    }
  }

  // Never more than were granted.
  void check_count(const control::StoredObject& replica) {
    const std::string name(control::text_at(replica.body, "spec.revision"));
    const auto revision = store_->get({&revision_type(), replica.ns, name});
    if (!revision) return;
    const RevisionStatus status = revision_status(*revision);
    int live = 0;
    for (const auto& each : owned(*store_, *revision, replica_type())) live += !each->deleting();
    EXPECT_LE(live, status.granted) << name;
    if (status.ceiling > 0)
      EXPECT_LE(status.granted, std::max(status.ceiling, status.floor)) << name;
  }

  ManualClock clock_;
  Rng rng_;
  std::unique_ptr<control::ObjectStore> store_;
  std::unique_ptr<control::Objects> objects_;
  SimulatedBackend backend_;
  LoadBook book_;
  SimulatedSignals signals_;
  double first_token_ms_ = 0;
  std::unique_ptr<Recipes> recipes_;
  std::unique_ptr<PlatformCore> core_;
  double publish_fails_ = 0;
  bool problems_wanted_ = false;
  double dies_ = 0;
  int alive_for_ = -1;  // calls; below 0: for good
  bool models_slow_ = false;
  std::string unreadable_;  // uri of a model that is none
  std::string large_;       // of one with 49 MiB of weights
  std::vector<std::string> looks_;
  std::map<std::string, TimePoint> pulls_;
  std::set<std::string> pulled_;
  std::map<std::string, SimulatedService> wanted_;
  std::map<std::string, double> loads_;                     // concurrency by service
  std::map<std::string, std::set<std::string>> endpoints_;  // of the plan, by upstream
  Routes routes_;                                           // of the plan
  std::set<std::string> deleted_by_user_;
  std::vector<control::ObjectPtr> created_;   // in this step
  std::vector<control::ObjectPtr> given_up_;  // likewise
  TimePoint next_second_{std::chrono::seconds(1)};
  int64_t steps_ = 0;
  int64_t crashes_ = 0;
  int64_t plans_ = 0;
  int64_t drains_ = 0;
  int64_t reached_ = 0;                   // services that came to be
  bool plans_held_ = false;               // the gateway stays with the one that it has
  std::optional<std::string> published_;  // the newest plan's id
  std::set<control::ObjectKey> published_services_;
  std::string taken_plan_;  // the gateway's
  std::set<control::ObjectKey> taken_services_;
};

}  // namespace sluice::platform
