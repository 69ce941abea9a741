// Target: one branch of a route over one upstream, and the policy by which it chooses a replica.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/prefix_hash.h"
#include "base/rng.h"
#include "gateway/prefix_index.h"
#include "gateway/replica.h"
#include "gateway/upstream.h"
#include "plan/plan.h"

namespace sluice::gateway {

// Why a replica was chosen; label values of a metric.
enum class Decision { kOnly, kPolicy, kSticky, kAffinity, kUnbalanced, kNoPrefix, kExact };
inline constexpr size_t kDecisions = 7;
std::string_view decision_name(Decision decision);

// Decisions that no metric has been told of yet.
using DecisionCounts = std::array<std::atomic<uint64_t>, kDecisions>;

// What stays of a branch over reloads.
struct TargetMemory {
  std::shared_ptr<PrefixIndex> index;  // null unless the policy is prefix_affinity
  std::shared_ptr<DecisionCounts> decisions = std::make_shared<DecisionCounts>();
};

// Any thread.
class Target {
 public:
  struct Settings {
    plan::Policy policy = plan::Policy::kLeastOutstanding;
    plan::PrefixPlan prefix = {};
    bool sticky_replica = false;
    std::string model = {};  // asked for instead of the client's; empty: the client's
  };

  Target(std::shared_ptr<Upstream> upstream, Settings settings,
         std::shared_ptr<TargetMemory> memory, const Clock& clock, uint64_t seed);

  struct Query {
    std::string_view sticky_key = {};
    std::span<const PrefixHash> prefix = {};
    std::span<const uint64_t> blocks = {};  // not empty: used instead of `prefix`
    std::span<const std::string> excluded = {};
    std::string_view fingerprint = {};
    std::string_view model = {};  // the client's
    // Whoever passes its checks will do, whatever its breaker and the outliers say.
    bool last_resort = false;
  };
  // kUnavailable when no replica may be used now.
  Result<ReplicaLease> choose(const Query& query);
  // Some replica may be used now.
  bool usable() const;
  // Requests wait for a replica of it.
  bool holds() const { return upstream_->hold() != nullptr; }
  // The replica asked to be left alone until then (Retry-After).
  void pause(std::string_view replica, TimePoint until);
  // Until when none may be used, if that is known; zero: no idea.
  Duration unusable_for() const;

  const Upstream& upstream() const { return *upstream_; }
  const std::shared_ptr<Upstream>& upstream_ptr() const { return upstream_; }
  const Settings& settings() const { return settings_; }
  const std::shared_ptr<PrefixIndex>& index() const { return memory_->index; }
  // Those since it was asked last.
  uint64_t take_decisions(Decision decision) const {
    return (*memory_->decisions)[static_cast<size_t>(decision)].exchange(0);
  }

 private:
  using Candidates = std::vector<ReplicaState*>;

  size_t pick(const Candidates& candidates, const Query& query, Decision& why);
  size_t round_robin(const Candidates& candidates);
  size_t weighted(const Candidates& candidates);
  size_t least(const Candidates& candidates);
  size_t power_of_two(const Candidates& candidates);
  size_t by_prefix(const Candidates& candidates, const Query& query, Decision& why);
  void remember(ReplicaLease& lease, const Query& query, size_t slot) const;
  static size_t by_key(const Candidates& candidates, std::string_view key);

  const std::shared_ptr<Upstream> upstream_;
  const Settings settings_;
  const std::shared_ptr<TargetMemory> memory_;
  const Clock& clock_;
  std::atomic<uint64_t> turn_ = 0;
  std::mutex mutex_;  // guards what follows
  Rng rng_;
  std::vector<std::pair<size_t, double>> current_;  // slot → credit of weighted round robin
};

}  // namespace sluice::gateway
