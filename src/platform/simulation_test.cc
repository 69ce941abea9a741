// Seeded simulation of the platform: users who make, change, scale, stop and delete services,
// replicas that crash, hang or never get ready, lost news, a full disk under the plan, controllers
// that end between any two steps. After every step what must always hold is checked
// (simulated_world_test_support.h); once the faults have stopped, all must become as it is wanted
// within bounded time, and then stand still.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "platform/process_sharing.h"
#include "platform/simulated_world_test_support.h"

namespace sluice::platform {
namespace {

using control::text_at;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr int kNames = 4;
constexpr std::string_view kProgressive =
    R"({"strategy":"Progressive","steps":[{"weight":20,"pauseSeconds":5},)"
    R"({"weight":60,"pauseSeconds":5}],"analysis":{"intervalSeconds":2,"minRequests":1}})";

uint64_t seeds() {
  if (const char* stated = std::getenv("SLUICE_SIM_SEEDS")) {
    return std::strtoull(stated, nullptr, 10);
  }
  return std::getenv("SLUICE_LONG") == nullptr ? 120 : 10'000;
}

std::string name_of(uint64_t i) { return "svc" + std::to_string(i); }

SimulatedService random_service(Rng& rng, const std::string& name, int version) {
  SimulatedService service{.name = name, .version = version};
  service.min = static_cast<int>(rng.below(3));
  service.max = std::max(1, service.min) + static_cast<int>(rng.below(3));
  service.memory_mib = static_cast<int>(64 << rng.below(4));
  if (rng.chance(0.4)) {
    service.shares = true;
    service.memory_mib = 64;
    if (rng.chance(0.7)) {
      if (rng.chance(0.1)) service.flag = "--other";
      if (rng.chance(0.1)) service.flag = rng.chance(0.5) ? "--crash" : "--never-ready";
      return service;
    }
  }
  if (rng.chance(0.4)) service.rollout = kProgressive;
  if (rng.chance(0.1)) service.rollout = R"({"strategy":"BlueGreen"})";
  if (rng.chance(0.15)) service.transformer = true;
  if (rng.chance(0.2)) {
    service.canary_version = version + 1000;
    service.canary_percent = static_cast<int>(rng.between(0, 60));
    return service;
  }
  if (rng.chance(0.1)) service.percent = static_cast<int>(rng.between(0, 100));
  if (rng.chance(0.15)) service.flag = rng.chance(0.5) ? "--crash" : "--never-ready";
  return service;
}

void user_does_something(SimulatedWorld& world, int& version) {
  Rng& rng = world.rng();
  const std::string name = name_of(rng.below(kNames));
  const auto present = world.wanted().find(name);
  if (present == world.wanted().end()) {
    return world.apply(random_service(rng, name, ++version));
  }
  SimulatedService service = present->second;
  switch (rng.below(9)) {
    case 0:
      world.remove(name);
      if (rng.chance(0.5)) world.apply(random_service(rng, name, ++version));
      return;
    case 1:
    case 2: {
      SimulatedService next = random_service(rng, name, ++version);
      next.min = service.min;
      next.max = service.max;
      return world.apply(next);
    }
    case 3:
      service.min = static_cast<int>(rng.below(4));
      service.max = std::max(1, service.min);
      return world.apply(service);
    case 4:
      service.stopped = !service.stopped;
      return world.apply(service);
    case 5:
      return world.remove_a_replica();
    case 8:
      // What the canary runs becomes what the service runs.
      if (service.canary_version > 0) service.version = service.canary_version;
      service.canary_version = 0;
      return world.apply(service);
    case 6:
      return world.wake(name);
    default:
      return world.set_load(name, rng.chance(0.5) ? 0 : static_cast<double>(rng.below(400)));
  }
}

SimulatedFaults random_faults(Rng& rng) {
  SimulatedFaults faults;
  if (rng.chance(0.5)) faults.start_fails = 0.2;
  if (rng.chance(0.4)) faults.never_ready = 0.15;
  if (rng.chance(0.5)) faults.crashes = 0.15;
  if (rng.chance(0.4)) faults.hangs_in_drain = 0.3;
  if (rng.chance(0.5)) faults.loses_news = 0.2;
  return faults;
}

// Nothing that users broke is left: services that cannot run are put right.
void mend(SimulatedWorld& world, int& version) {
  world.set_faults({}, 0, 0);
  for (const auto& [name, service] : std::map(world.wanted())) {
    world.set_load(name, 0);
    // A split by hand may keep requests at a version that never worked.
    // One that was rolled back is not tried again unless it changes.
    const auto present = world.store().get({&service_type(), "default", name});
    const bool rolled_back =
        present && !text_at(present->body, "status.sluice.rollout.failed").empty();
    if (service.flag.empty() && !service.percent && !rolled_back) continue;
    SimulatedService good = service;
    good.percent.reset();
    if (!good.flag.empty() || rolled_back) good.version = ++version;
    good.flag.clear();
    world.apply(good);
  }
}

// Whoever can share a process does, with all who can, and each has its own model there.
// Gives how many run in another's process.
int64_t expect_shared(SimulatedWorld& world) {
  int64_t together = 0;
  std::map<std::string, std::string> revision_of;  // by flag, which is what tells processes apart
  for (const auto& [name, wanted] : world.wanted()) {
    const auto service = world.store().get({&service_type(), "default", name});
    const bool rolled_back = !text_at(service->body, "status.sluice.rollout.failed").empty();
    if (wanted.stopped || rolled_back) continue;
    const std::string stable(text_at(service->body, "status.sluice.rollout.stable"));
    const auto revision = world.store().get({&revision_type(), "default", stable});
    EXPECT_TRUE(revision != nullptr) << *service->text;
    if (!revision) return together;
    const bool splits = wanted.canary_version > 0 || wanted.percent || wanted.transformer;
    const bool shares = wanted.shares && !splits && wanted.rollout.empty();
    EXPECT_EQ(is_shared(spec_of(*revision)), shares) << *service->text;
    if (!shares) continue;
    EXPECT_EQ(shared_uri(spec_of(*revision), name),
              text_at(service->body, "spec.predictor.model.storageUri"));
    const auto [group, first] = revision_of.emplace(wanted.flag, stable);
    EXPECT_EQ(group->second, stable) << *service->text;
    together += first ? 0 : 1;
  }
  return together;
}

// What the machine has room for, were it for these services alone.
bool all_fit(SimulatedWorld& world) {
  // A rollout keeps the capacity of its beginning, which may be more than fits twice.
  for (const auto& revision : world.store().list(revision_type(), {}).objects) {
    const RevisionStatus status = revision_status(*revision);
    if (status.granted < status.desired) return false;
  }
  uint64_t needed = 0;
  for (const auto& [name, service] : world.wanted()) {
    // A new revision runs beside the old one for a while.
    if (!service.stopped) {
      const int replicas = 2 * std::max(1, service.min) + (service.transformer ? 2 : 0) +
                           (service.canary_version > 0 ? 4 : 0);
      needed += static_cast<uint64_t>(replicas * service.memory_mib) * kMiB;
    }
  }
  return needed <= world.backend().room().memory_bytes;
}

void expect_converged(SimulatedWorld& world) {
  control::ObjectStore& store = world.store();
  const bool fit = all_fit(world);
  size_t granted = 0;
  for (const auto& revision : store.list(revision_type(), {}).objects) {
    const RevisionStatus status = revision_status(*revision);
    granted += static_cast<size_t>(status.granted);
    EXPECT_EQ(status.ready, status.granted) << *revision->text;
    EXPECT_EQ(status.replicas, status.granted) << revision->name;
    const auto planned = world.endpoints().find("default/" + revision->name);
    const std::string service(text_at(revision->body, "spec.service"));
    // Whose transformer has no room gets no requests.
    const auto wanted = world.wanted().find(service);
    const bool closed = !fit && wanted != world.wanted().end() && wanted->second.transformer;
    if (planned != world.endpoints().end() && !closed) {
      EXPECT_EQ(planned->second.size(), static_cast<size_t>(status.granted)) << revision->name;
    }
  }
  EXPECT_EQ(store.list(replica_type(), {}).objects.size(), granted);
  EXPECT_EQ(world.backend().list().size(), granted) << "somebody is left over";
  const auto services = store.list(service_type(), {}).objects;
  EXPECT_EQ(services.size(), world.wanted().size());
  for (const auto& service : services) {
    const SimulatedService& wanted = world.wanted().at(service->name);
    const auto ready = find_condition(*service, "Ready");
    ASSERT_TRUE(ready.has_value()) << *service->text;
    if (wanted.stopped) {
      EXPECT_EQ(ready->reason, "Stopped");
      continue;
    }
    // The bad looks of before the faults stopped may have been one too many.
    const bool rolled_back = !text_at(service->body, "status.sluice.rollout.failed").empty();
    if (!fit || rolled_back) continue;
    EXPECT_EQ(ready->status, "True")
        << service->name << ": " << ready->reason << " " << ready->message << "\n"
        << *service->text;
    const int64_t replicas =
        control::integer_at(service->body, "status.components.predictor.readyReplicas").value_or(0);
    EXPECT_GE(replicas, wanted.min) << *service->text;
    if (wanted.canary_version > 0) {
      const auto* canaries = control::array_at(service->body, "status.canaryStatuses");
      ASSERT_TRUE(canaries != nullptr && canaries->size() == 1) << *service->text;
      EXPECT_TRUE(control::true_at(canaries->front().as_object(), "ready")) << *service->text;
    }
    if (wanted.percent) continue;
    EXPECT_EQ(text_at(service->body, "status.components.predictor.latestRolledoutRevision"),
              text_at(service->body, "status.components.predictor.latestCreatedRevision"))
        << *service->text;
  }
}

void run_until(SimulatedWorld& world, TimePoint until) {
  int64_t idle = 0;
  TimePoint last = world.clock().now();
  while (world.clock().now() < until) {
    world.step();
    // A controller that is never done makes no time.
    idle = world.clock().now() == last ? idle + 1 : 0;
    last = world.clock().now();
    ASSERT_LT(idle, 5000) << "the controller goes round in circles";
    if (testing::Test::HasFailure()) return;
  }
}

struct Totals {
  int64_t steps = 0;
  int64_t crashes = 0;
  int64_t starts = 0;
  int64_t ended = 0;
  int64_t drains = 0;
  int64_t shared = 0;
  int64_t reached = 0;
};

void simulate(uint64_t seed, Totals& totals) {
  SimulatedWorld world(seed);
  Rng& rng = world.rng();
  int version = 0;
  world.set_models_slow(rng.chance(0.3));
  world.set_faults(random_faults(rng), rng.chance(0.3) ? 0.3 : 0, rng.chance(0.5) ? 0.03 : 0);
  const auto changes = static_cast<int>(rng.between(3, 12));
  for (int i = 0; i < changes; ++i) {
    user_does_something(world, version);
    const auto steps = static_cast<int>(rng.below(60));
    for (int step = 0; step < steps; ++step) {
      world.step();
      if (rng.chance(0.01)) world.crash();
    }
    if (testing::Test::HasFailure()) return;
  }
  mend(world, version);
  // A stable window, the grace before zero, a rollout, the longest pause before a restart.
  run_until(world, world.clock().now() + minutes(5));
  if (testing::Test::HasFailure()) return;
  expect_converged(world);
  if (testing::Test::HasFailure()) return;
  if (!all_fit(world)) return;  // a rollout without room goes on looking
  totals.shared += expect_shared(world);
  if (testing::Test::HasFailure()) return;
  const uint64_t settled = world.store().version();
  run_until(world, world.clock().now() + seconds(130));
  EXPECT_EQ(world.store().version(), settled) << "nothing happens, and something is written";
  totals.steps += world.steps();
  totals.crashes += world.crashes();
  totals.starts += world.backend().starts();
  totals.ended += world.backend().crashes();
  totals.drains += world.drains();
  totals.reached += world.reached();
}

TEST(Simulation, TheWorldBecomesAsTheObjectsAre) {
  set_log_level(LogLevel::kOff);
  Totals totals;
  const uint64_t count = seeds();
  const char* stated = std::getenv("SLUICE_SIM_FIRST");
  const uint64_t first = stated == nullptr ? 0 : std::strtoull(stated, nullptr, 10);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    simulate(seed, totals);
    if (HasFailure()) break;
  }
  set_log_level(LogLevel::kInfo);
  if (HasFailure()) return;
  // The scenarios must reach what they are meant to test.
  const auto each = static_cast<int64_t>(count);
  EXPECT_GT(totals.starts, each * 3);
  EXPECT_GT(totals.crashes, each / 4);
  EXPECT_GT(totals.ended, each / 10);
  EXPECT_GT(totals.drains, each / 2);
  EXPECT_GT(totals.shared, each / 20);
  EXPECT_GT(totals.reached, each);
  RecordProperty("steps", static_cast<int>(totals.steps));
  if (std::getenv("SLUICE_SIM_SEEDS") != nullptr) {
    std::cerr << count << " seeds, " << totals.steps << " steps, " << totals.crashes
              << " controllers ended, " << totals.starts << " starts, " << totals.ended
              << " replicas crashed, " << totals.drains << " drained, " << totals.shared
              << " in another's process\n";
  }
}

}  // namespace
}  // namespace sluice::platform
