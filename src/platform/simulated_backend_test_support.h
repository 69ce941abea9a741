// SimulatedBackend: replicas that exist in a seeded world only, by a clock turned by hand. Faults
// are drawn: starts that fail, replicas that never get ready, that crash, that hang as they drain,
// notifications that are lost. What must hold of what it is told is checked at once.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/rng.h"
#include "platform/replica_backend.h"

namespace sluice::platform {

struct SimulatedFaults {
  double start_fails = 0;
  double never_ready = 0;
  double crashes = 0;  // of replicas that run, each second or so
  double hangs_in_drain = 0;
  double loses_news = 0;
};

class SimulatedBackend : public ReplicaBackend {
 public:
  SimulatedBackend(const Clock& clock, Rng rng, MachineRoom room)
      : clock_(clock), rng_(rng), room_(room) {}

  SimulatedFaults faults;
  // Called when the controller asks or tells anything: it may die here.
  std::function<void()> on_call;
  // Called before a replica that takes requests is told to end.
  std::function<void(const std::string& id)> before_drain;

  Outcome start(const process::ReplicaSpec& spec) override {
    call();
    if (replicas_.contains(spec.id)) return {};
    ++starts_;
    if (rng_.chance(faults.start_fails)) {
      return fail(Code::kUnavailable, "no descriptor is left for it");
    }
    Replica& replica = replicas_[spec.id];
    replica.view = {.id = spec.id,
                    .phase = ReplicaPhase::kStarting,
                    .url = "http://127.0.0.1:" + std::to_string(++last_port_),
                    .pid = last_port_,
                    .started_unix = clock_.unix_seconds(),
                    .memory_bytes = spec.memory_bytes,
                    .exit = {}};
    replica.memory = spec.memory_bytes;
    replica.grace = spec.grace;
    const bool bad = has_argument(spec, "--crash");
    const bool stuck = has_argument(spec, "--never-ready") || rng_.chance(faults.never_ready);
    const TimePoint now = clock_.now();
    if (bad) {
      replica.exits = now + std::chrono::milliseconds(rng_.between(1, 500));
    } else if (stuck) {
      // A start-up probe gives up in the end.
      replica.exits = now + std::chrono::seconds(rng_.between(20, 40));
    } else {
      replica.ready = now + std::chrono::milliseconds(rng_.between(10, 3000));
    }
    replica.reason = stuck ? "StartTimeout" : "Error";
    check_room();
    tell(spec.id);
    return {};
  }

  void drain(std::string_view id) override {
    call();
    const auto found = replicas_.find(id);
    if (found == replicas_.end()) return;
    Replica& replica = found->second;
    const ReplicaPhase phase = replica.view.phase;
    if (phase == ReplicaPhase::kDraining || phase == ReplicaPhase::kExited) return;
    if (phase == ReplicaPhase::kReady && before_drain) before_drain(replica.view.id);
    const bool hangs = rng_.chance(faults.hangs_in_drain);
    const Duration takes =
        hangs ? replica.grace : Duration(std::chrono::milliseconds(rng_.between(0, 2000)));
    replica.exits = clock_.now() + takes;
    replica.reason = "Completed";
    replica.ready.reset();
    replica.view.phase = ReplicaPhase::kDraining;
    tell(replica.view.id);
  }

  void kill(std::string_view id) override {
    const auto found = replicas_.find(id);
    if (found != replicas_.end()) end(found->second, "Error");
  }

  void forget(std::string_view id) override {
    call();
    const auto found = replicas_.find(id);
    if (found == replicas_.end() || found->second.view.phase != ReplicaPhase::kExited) return;
    replicas_.erase(found);
  }

  std::vector<ReplicaView> list() override {
    std::vector<ReplicaView> views;
    views.reserve(replicas_.size());
    for (const auto& [id, replica] : replicas_) views.push_back(replica.view);
    return views;
  }
  std::optional<ReplicaView> find(std::string_view id) override {
    call();
    const auto found = replicas_.find(id);
    if (found == replicas_.end()) return std::nullopt;
    return found->second.view;
  }
  MachineRoom room() override {
    call();
    return room_;
  }
  void on_change(std::function<void(const std::string& id)> listener) override {
    listener_ = std::move(listener);
  }
  Result<std::string> log_tail(std::string_view id, size_t /*max_bytes*/) override {
    return "last words of " + std::string(id) + "\n";
  }

  // When something happens next by itself.
  std::optional<TimePoint> next() const {
    std::optional<TimePoint> next;
    for (const auto& [id, replica] : replicas_) {
      for (const auto& at : {replica.ready, replica.exits}) {
        if (at && (!next || *at < *next)) next = at;
      }
    }
    return next;
  }

  // Lets happen what is due.
  void turn() {
    const TimePoint now = clock_.now();
    for (auto& [id, replica] : replicas_) {
      if (replica.view.phase == ReplicaPhase::kExited) continue;
      if (replica.exits && *replica.exits <= now) {
        end(replica, replica.reason);
      } else if (replica.ready && *replica.ready <= now) {
        replica.ready.reset();
        replica.view.phase = ReplicaPhase::kReady;
        tell(id);
      }
    }
  }

  // One of those that run ends by itself.
  void maybe_crash() {
    for (auto& [id, replica] : replicas_) {
      if (replica.view.phase != ReplicaPhase::kReady || !rng_.chance(faults.crashes)) continue;
      ++crashes_;
      end(replica, "OutOfMemory");
    }
  }

  size_t alive() const {
    return static_cast<size_t>(std::ranges::count_if(replicas_, [](const auto& each) {
      return each.second.view.phase != ReplicaPhase::kExited;
    }));
  }
  int64_t starts() const { return starts_; }
  int64_t crashes() const { return crashes_; }

 private:
  struct Replica {
    ReplicaView view;
    uint64_t memory = 0;
    Duration grace{};
    std::optional<TimePoint> ready = {};
    std::optional<TimePoint> exits;
    std::string reason;
  };

  void call() const {
    if (on_call) on_call();
  }

  static bool has_argument(const process::ReplicaSpec& spec, std::string_view argument) {
    return std::ranges::find(spec.command, argument) != spec.command.end();
  }

  void end(Replica& replica, const std::string& reason) {
    if (replica.view.phase == ReplicaPhase::kExited) return;
    replica.view.phase = ReplicaPhase::kExited;
    replica.view.exit = ReplicaExit{.code = reason == "Completed" ? 0 : 1,
                                    .reason = reason,
                                    .message = {},
                                    .at_unix = clock_.unix_seconds()};
    replica.ready.reset();
    replica.exits.reset();
    tell(replica.view.id);
  }

  void check_room() const {
    uint64_t used = 0;
    for (const auto& [id, replica] : replicas_) {
      if (replica.view.phase != ReplicaPhase::kExited) used += replica.memory;
    }
    EXPECT_LE(used, room_.memory_bytes) << "the machine has no such room";
  }

  void tell(const std::string& id) {
    if (listener_ && !rng_.chance(faults.loses_news)) listener_(id);
  }

  const Clock& clock_;
  Rng rng_;
  const MachineRoom room_;
  std::map<std::string, Replica, std::less<>> replicas_;
  std::function<void(const std::string& id)> listener_;
  int64_t last_port_ = 20'000;
  int64_t starts_ = 0;
  int64_t crashes_ = 0;
};

}  // namespace sluice::platform
