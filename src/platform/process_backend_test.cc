// Replicas as real processes. This binary is their keeper and their program: see main().
#include "platform/process_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "net/client.h"
#include "process/folder.h"
#include "process/proc_info.h"
#include "process/records.h"
#include "process/test_processes.h"

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using process::Probe;
using process::ReplicaSpec;
using process::testing::text_of;
using process::testing::this_program;
using process::testing::touch;
using process::testing::wait_ended;
using process::testing::wait_in;

// A backend over a folder of the test's, which may be taken down and opened again; what is left at
// the end is killed and waited for.
class World {
 public:
  World() { open(); }
  ~World() {
    if (!backend_) open();
    for (const ReplicaView& each : backend_->list()) {
      backend_->kill(each.id);
      wait(each.id, ReplicaPhase::kExited);
    }
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void open() {
    auto made = ProcessBackend::open(options());
    ASSERT_TRUE(made) << made.error().message();
    backend_ = *std::move(made);
    backend_->on_change([this](const std::string& id) {
      const std::lock_guard lock(mutex_);
      ++changes_[id];
      changed_.notify_all();
    });
  }
  void close() { backend_.reset(); }
  ProcessBackendOptions options() const {
    return {.folder = folder_.path() / "replicas",
            .program = this_program(),
            .memory_bytes = {},
            .cpus = {},
            .control_groups = false,
            .logs = {}};
  }

  ProcessBackend& operator*() { return *backend_; }
  ProcessBackend* operator->() { return backend_.get(); }
  fs::path folder(const std::string& id) const { return folder_.path() / "replicas" / id; }
  fs::path work(const std::string& id) const { return folder(id) / process::kWorkFolder; }

  // Until the listener was told and it is so; what it is in the end.
  ReplicaView wait(const std::string& id, const std::function<bool(const ReplicaView&)>& holds) {
    std::unique_lock lock(mutex_);
    const TimePoint until = system_clock().now() + process::testing::kPatience;
    while (true) {
      const int seen = changes_[id];
      lock.unlock();
      const auto view = backend_->find(id);
      lock.lock();
      if (view && holds(*view)) return *view;
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - system_clock().now());
      if (!changed_.wait_for(lock, left, [&] { return changes_[id] != seen; })) {
        ADD_FAILURE() << id << " never came to be so; phase "
                      << (view ? static_cast<int>(view->phase) : -1)
                      << (view && view->exit ? view->exit->message : "");
        return view.value_or(ReplicaView{.id = id, .url = {}, .exit = {}});
      }
    }
  }
  ReplicaView wait(const std::string& id, ReplicaPhase phase) {
    return wait(id, [phase](const ReplicaView& view) { return view.phase == phase; });
  }

 private:
  process::testing::TestFolder folder_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, int> changes_;
  std::unique_ptr<ProcessBackend> backend_;
};

ReplicaSpec server(const std::string& id) {
  ReplicaSpec spec;
  spec.id = id;
  spec.command = {this_program(), "replica"};
  spec.readiness = Probe{.period = 10ms, .failure_threshold = 2};
  return spec;
}

ReplicaSpec shell(const std::string& id, const std::string& script) {
  ReplicaSpec spec;
  spec.id = id;
  spec.command = {"/bin/sh", "-c", script};
  return spec;
}

int status_of(const std::string& url) {
  net::HttpClient client;
  const auto answer = client.fetch({.url = url + "/", .timeout = 30s});
  return answer ? answer->status : 0;
}

TEST(ProcessBackend, StartsServesDrainsForgets) {
  World world;
  for (const bool socket : {false, true}) {
    const std::string id = socket ? "with-socket" : "with-port";
    ReplicaSpec spec = server(id);
    spec.takes_socket = socket;
    ASSERT_TRUE(world->start(spec));
    ASSERT_TRUE(world->start(spec));  // changes nothing
    const ReplicaView ready = world.wait(id, ReplicaPhase::kReady);
    EXPECT_GT(ready.pid, 0);
    EXPECT_GT(ready.started_unix, 1e9);
    EXPECT_GT(ready.memory_bytes, 10'000u);
    EXPECT_EQ(status_of(ready.url), 200);
    world->drain(id);
    world->drain(id);
    const ReplicaView ended = world.wait(id, ReplicaPhase::kExited);
    ASSERT_TRUE(ended.exit);
    EXPECT_EQ(ended.exit->reason, "Completed") << ended.exit->message;
    EXPECT_EQ(ended.pid, 0);
    EXPECT_TRUE(wait_ended(ready.pid));
    ASSERT_TRUE(world->start(spec));  // an exited one that is there changes nothing either
    EXPECT_EQ(world->find(id)->phase, ReplicaPhase::kExited);
    world->forget(id);
    EXPECT_FALSE(world->find(id));
    EXPECT_FALSE(fs::exists(world.folder(id)));
    EXPECT_EQ(*world->log_tail(id, 1000), "up\n");
    EXPECT_FALSE(fs::exists(world.folder(".old") / id / "spec.json"));
  }
  EXPECT_TRUE(world->list().empty());
  EXPECT_FALSE(world->log_tail("never", 10));
  EXPECT_FALSE(world->log_tail("../..", 10));
}

TEST(ProcessBackend, AnEndIsToldWithItsReason) {
  World world;
  ASSERT_TRUE(world->start(shell("crash", "echo it broke; exit 3")));
  const ReplicaView crash = world.wait("crash", ReplicaPhase::kExited);
  EXPECT_EQ(crash.exit->reason, "Error");
  EXPECT_EQ(crash.exit->code, 3);
  EXPECT_EQ(crash.exit->message, "it broke");

  ASSERT_TRUE(world->start(shell("killed", "echo up; exec sleep 1000")));
  const ReplicaView running =
      world.wait("killed", [](const ReplicaView& view) { return view.pid != 0; });
  ::kill(static_cast<pid_t>(running.pid), SIGKILL);
  EXPECT_EQ(world.wait("killed", ReplicaPhase::kExited).exit->signal, SIGKILL);

  ReplicaSpec missing = shell("missing", "");
  missing.command = {"/no/such/program"};
  ASSERT_TRUE(world->start(missing));
  EXPECT_EQ(world.wait("missing", ReplicaPhase::kExited).exit->reason, "CannotStart");

  ReplicaSpec wrong = shell("wrong", "");
  wrong.command.clear();
  EXPECT_EQ(world->start(wrong).error().code(), Code::kInvalidArgument);
  EXPECT_FALSE(world->find("wrong"));
  EXPECT_EQ(world->list().size(), 3u);
}

TEST(ProcessBackend, ProbesDecide) {
  World world;
  ReplicaSpec spec = server("asked");
  spec.working_folder = world.folder(".backend");
  spec.startup = Probe{.path = "/started", .period = 10s, .failure_threshold = 100};
  spec.liveness = Probe{.path = "/live", .period = 10ms, .failure_threshold = 2};
  const fs::path work = spec.working_folder;
  touch(work / "started-fails");
  touch(work / "ready-fails");
  ASSERT_TRUE(world->start(spec));
  EXPECT_TRUE(wait_in(world.folder("asked"),
                      [&] { return world->log_tail("asked", 100).value_or("") == "up\n"; }));
  EXPECT_EQ(world->find("asked")->phase, ReplicaPhase::kStarting);
  fs::remove(work / "ready-fails");
  fs::remove(work / "started-fails");
  world.wait("asked", ReplicaPhase::kReady);
  touch(work / "ready-fails");
  world.wait("asked", ReplicaPhase::kNotReady);
  fs::remove(work / "ready-fails");
  world.wait("asked", ReplicaPhase::kReady);
  touch(work / "live-fails");
  const ReplicaView ended = world.wait("asked", ReplicaPhase::kExited);
  EXPECT_EQ(ended.exit->reason, "NotLive");
  EXPECT_NE(ended.exit->message.find("status 503"), std::string::npos) << ended.exit->message;

  ReplicaSpec slow = server("slow");
  slow.startup = Probe{.path = "/live", .period = 10ms, .failure_threshold = 5};
  slow.working_folder = work;
  ASSERT_TRUE(world->start(slow));
  EXPECT_EQ(world.wait("slow", ReplicaPhase::kExited).exit->reason, "StartTimeout");
}

TEST(ProcessBackend, AdoptsWhatLives) {
  World world;
  ASSERT_TRUE(world->start(server("a")));
  ASSERT_TRUE(
      world->start(shell("stubborn", "trap '' TERM; echo up; while :; do sleep 0.01; done")));
  ASSERT_TRUE(world->start(shell("ends", "read line <&3; exit 4")));
  const ReplicaView before = world.wait("a", ReplicaPhase::kReady);
  // Started once, and not ready now: no reason to end it, whatever its start-up probe says.
  ReplicaSpec unwell = server("unwell");
  unwell.startup = Probe{.path = "/started", .period = 1ms, .failure_threshold = 1000};
  ASSERT_TRUE(world->start(unwell));
  world.wait("unwell", ReplicaPhase::kReady);
  for (const char* each : {"ready-fails", "started-fails"}) touch(world.work("unwell") / each);
  world.wait("unwell", ReplicaPhase::kNotReady);
  world.wait("stubborn", [](const ReplicaView& view) { return !view.url.empty(); });
  world->drain("stubborn");
  const ReplicaView ended = world.wait("ends", ReplicaPhase::kExited);
  world.close();
  // Nobody looks after them meanwhile.
  EXPECT_EQ(status_of(before.url), 200);
  world.open();
  // At once, before any probe: a ready one stays in the plan.
  const auto after = world->find("a");
  ASSERT_TRUE(after);
  EXPECT_EQ(after->phase, ReplicaPhase::kReady);
  EXPECT_EQ(after->pid, before.pid);
  EXPECT_EQ(after->url, before.url);
  EXPECT_EQ(after->started_unix, before.started_unix);
  EXPECT_EQ(world->find("stubborn")->phase, ReplicaPhase::kDraining);
  EXPECT_EQ(world->find("ends")->exit->code, ended.exit->code);
  EXPECT_EQ(world->find("unwell")->phase, ReplicaPhase::kNotReady);
  EXPECT_EQ(world->list().size(), 4u);
  fs::remove(world.work("unwell") / "ready-fails");
  world.wait("unwell", ReplicaPhase::kReady);
  ASSERT_TRUE(world->start(server("a")));
  // It goes on being looked after.
  touch(world.work("a") / "ready-fails");
  world.wait("a", ReplicaPhase::kNotReady);
  world->kill("stubborn");
  EXPECT_EQ(world.wait("stubborn", ReplicaPhase::kExited).exit->signal, SIGKILL);
  world->drain("a");
  EXPECT_EQ(world.wait("a", ReplicaPhase::kExited).exit->reason, "Completed");
}

TEST(ProcessBackend, WhatEndsWhileNobodyLooksIsKnown) {
  World world;
  ASSERT_TRUE(world->start(server("ends")));
  ASSERT_TRUE(world->start(server("orphan")));
  const ReplicaView ends = world.wait("ends", ReplicaPhase::kReady);
  const ReplicaView orphan = world.wait("orphan", ReplicaPhase::kReady);
  const auto state =
      process::parse_state(text_of(world.folder("orphan") / process::kStateFile)).value();
  world.close();
  ::kill(static_cast<pid_t>(ends.pid), SIGABRT);
  ::kill(static_cast<pid_t>(state.keeper.pid), SIGKILL);
  EXPECT_TRUE(process::testing::wait_file(world.folder("ends") / process::kExitFile));
  EXPECT_TRUE(wait_ended(state.keeper.pid));
  world.open();
  EXPECT_EQ(world->find("ends")->exit->signal, SIGABRT);
  const auto lost = world->find("orphan");
  EXPECT_EQ(lost->phase, ReplicaPhase::kExited);
  EXPECT_EQ(lost->exit->reason, "Error");
  EXPECT_NE(lost->exit->message.find("keeper was killed"), std::string::npos);
  EXPECT_TRUE(wait_ended(orphan.pid));
}

TEST(ProcessBackend, AKilledKeeperLeavesNothing) {
  World world;
  ReplicaSpec spec = shell("r", "setsid sleep 1000 & echo $! >child; exec \"$0\" replica");
  spec.command.push_back(this_program());
  spec.readiness = Probe{};
  ASSERT_TRUE(world->start(spec));
  const ReplicaView view = world.wait("r", ReplicaPhase::kReady);
  const auto state = process::parse_state(text_of(world.folder("r") / process::kStateFile)).value();
  const int64_t child = std::atoll(text_of(world.work("r") / "child").c_str());
  ASSERT_TRUE(process::read_stat(child));
  ::kill(static_cast<pid_t>(state.keeper.pid), SIGKILL);
  const ReplicaView lost = world.wait("r", ReplicaPhase::kExited);
  EXPECT_EQ(lost.exit->reason, "Error");
  EXPECT_TRUE(wait_ended(view.pid));
  EXPECT_TRUE(wait_ended(child));
  world->forget("r");
  EXPECT_FALSE(world->find("r"));
}

TEST(ProcessBackend, DamagedFilesConcernTheirReplicaOnly) {
  World world;
  for (const char* id : {"sound", "state", "spec", "both"}) ASSERT_TRUE(world->start(server(id)));
  ASSERT_TRUE(world->start(shell("ended", "exit 0")));
  std::map<std::string, ReplicaView> before;
  for (const char* id : {"sound", "state", "spec", "both"}) {
    before[id] = world.wait(id, ReplicaPhase::kReady);
  }
  world.wait("ended", ReplicaPhase::kExited);
  world.close();
  const auto damage = [&](const char* id, std::string_view file) {
    ASSERT_TRUE(process::write_record(world.folder(id) / file, "{\"damaged\":"));
  };
  damage("state", process::kStateFile);
  damage("spec", process::kSpecFile);
  damage("both", process::kStateFile);
  damage("both", process::kSpecFile);
  damage("ended", process::kExitFile);
  fs::create_directory(world.folder("never-begun"));
  touch(world.folder("a-file"));
  world.open();
  EXPECT_EQ(world->find("sound")->phase, ReplicaPhase::kReady);
  for (const auto& [id, view] : before) {
    const ReplicaView again = world.wait(id, ReplicaPhase::kReady);
    EXPECT_EQ(again.pid, view.pid) << id;
    EXPECT_EQ(again.url, view.url) << id;
  }
  EXPECT_EQ(world->find("ended")->exit->reason, "Error");
  EXPECT_NE(world->find("ended")->exit->message.find("exit.json"), std::string::npos);
  EXPECT_EQ(world->find("never-begun")->exit->reason, "CannotStart");
  EXPECT_FALSE(world->find("a-file"));
}

TEST(ProcessBackend, AFolderHasOneBackend) {
  World world;
  const auto second = ProcessBackend::open(world.options());
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find("another controller"), std::string::npos);
  ProcessBackendOptions elsewhere = world.options();
  elsewhere.folder = world.folder("../others");
  fs::create_directory(elsewhere.folder);
  fs::permissions(elsewhere.folder, fs::perms::all);
  const auto open_to_all = ProcessBackend::open(elsewhere);
  ASSERT_FALSE(open_to_all);
  EXPECT_EQ(open_to_all.error().code(), Code::kPermissionDenied);
}

TEST(ProcessBackend, AKeeperThatCannotBeRunIsAnError) {
  World world;
  world.close();
  ProcessBackendOptions options = world.options();
  options.program = "/no/such/sluice";
  {
    const auto backend = *ProcessBackend::open(options);
    const auto started = backend->start(server("r"));
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().code(), Code::kUnavailable);
    EXPECT_FALSE(backend->find("r"));
    EXPECT_FALSE(fs::exists(world.folder("r")));
  }
  // One that is no keeper.
  options.program = "/bin/true";
  const auto backend = *ProcessBackend::open(options);
  std::mutex mutex;
  std::condition_variable changed;
  backend->on_change([&](const std::string&) {
    const std::lock_guard lock(mutex);
    changed.notify_all();
  });
  ASSERT_TRUE(backend->start(server("r")));
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, process::testing::kPatience,
                               [&] { return backend->find("r")->phase == ReplicaPhase::kExited; }));
  EXPECT_EQ(backend->find("r")->exit->reason, "CannotStart");
}

TEST(ProcessBackend, OldLogsGo) {
  World world;
  world.close();
  ProcessBackendOptions options = world.options();
  options.keep_logs_of = 2;
  const auto backend = *ProcessBackend::open(options);
  std::mutex mutex;
  std::condition_variable changed;
  backend->on_change([&](const std::string&) {
    const std::lock_guard lock(mutex);
    changed.notify_all();
  });
  for (const char* id : {"a", "b", "c"}) {
    ASSERT_TRUE(backend->start(shell(id, "echo hello")));
    {
      std::unique_lock lock(mutex);
      ASSERT_TRUE(changed.wait_for(lock, process::testing::kPatience, [&] {
        return backend->find(id)->phase == ReplicaPhase::kExited;
      }));
    }
    backend->forget(id);
  }
  const auto old = fs::directory_iterator(world.folder(".old"));
  EXPECT_EQ(std::distance(fs::begin(old), fs::end(old)), 2);
}

TEST(ProcessBackend, KnowsItsRoom) {
  World world;
  const MachineRoom room = world->room();
  EXPECT_GT(room.memory_bytes, 0u);
  EXPECT_GT(room.cpus, 0);
  world.close();
  ProcessBackendOptions options = world.options();
  options.memory_bytes = 12345;
  options.cpus = 0.5;
  const auto backend = *ProcessBackend::open(options);
  EXPECT_EQ(backend->room().memory_bytes, 12345u);
  EXPECT_EQ(backend->room().cpus, 0.5);
}

}  // namespace
}  // namespace sluice::platform

int main(int argc, char** argv) {
  if (const auto status = sluice::process::testing::run_as_process(argc, argv)) return *status;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
