// Route: a plan's route at work: its split, its branches, its budgets and its queue.
//
// A snapshot is built of the plan and, where names stay, of the parts of the snapshot before: load,
// health, queues and what is known of prefixes outlive a reload. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/function_ref.h"
#include "gateway/admission.h"
#include "gateway/quantile.h"
#include "gateway/retry_budget.h"
#include "gateway/split.h"
#include "gateway/target.h"
#include "plan/plan.h"

namespace sluice::gateway {

struct Transform;

// What stays of a route over reloads.
class RouteMemory {
 public:
  explicit RouteMemory(const plan::Route& route);

  // Of the branch over that upstream; slots are an upstream's own.
  std::shared_ptr<TargetMemory> target(const std::string& upstream, const plan::Route& route);

  // What is left of them, as long as their settings stay.
  std::shared_ptr<RetryBudget> retries(const plan::Route& route);
  std::shared_ptr<RetryBudget> hedges(const plan::Route& route);

  std::shared_ptr<Admission> admission;
  RecentQuantile first_bytes;    // seconds, for hedging
  std::atomic<int> mirrors = 0;  // copies under way

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<TargetMemory>> targets_;
  std::shared_ptr<RetryBudget> retries_;
  std::shared_ptr<RetryBudget> hedges_;
};

class Route {
 public:
  using FindUpstream = FunctionRef<std::shared_ptr<Upstream>(const std::string&)>;
  using FindHeader = FunctionRef<std::optional<std::string_view>(std::string_view)>;

  Route(std::shared_ptr<const plan::Plan> plan, const plan::Route& settings,
        std::shared_ptr<RouteMemory> memory, FindUpstream upstreams, const Clock& clock);

  const plan::Route& settings() const { return settings_; }
  const std::shared_ptr<RouteMemory>& memory() const { return memory_; }
  bool sluice() const {
    return targets_.front()->upstream().settings()->kind == plan::UpstreamKind::kSluice;
  }

  // Requests go where their prompts' blocks are, as the replicas tell it.
  bool exact() const {
    return sluice() && settings_.policy == plan::Policy::kPrefixAffinity && settings_.prefix.exact;
  }

  // Some branch's upstream holds requests that nobody can answer now.
  bool holds() const { return holds_; }

  // The branch for a request. Null when no branch has a replica, or holds requests.
  Target* split(std::string_view sticky_key, FindHeader header);
  Target* target(std::string_view upstream) const;  // null when it is none of the route's
  Target& fallback(size_t i) const { return *fallbacks_[i]; }
  // Where copies go; null for none.
  Target* mirror() const { return mirror_.get(); }
  // Whether this request is copied: of every hundred, `percent`, evenly spread.
  bool takes_mirror();

  // Null: requests and answers go on as they are.
  const Transform* transform() const { return transform_.get(); }

  RetryBudget& retries() { return *retries_; }
  RetryBudget& hedges() { return *hedges_; }
  bool usable() const;
  Duration unusable_for() const;

  const std::vector<std::unique_ptr<Target>>& targets() const { return targets_; }
  uint64_t splits(SplitReason reason) const { return splits_[static_cast<size_t>(reason)]; }

 private:
  std::unique_ptr<Target> make_target(const std::string& upstream, const std::string& model,
                                      FindUpstream upstreams, const Clock& clock) const;

  const std::shared_ptr<const plan::Plan> plan_;  // holds the settings
  const plan::Route& settings_;
  const std::shared_ptr<RouteMemory> memory_;
  TrafficSplit split_;
  bool holds_ = false;
  std::vector<std::unique_ptr<Target>> targets_;
  std::vector<std::unique_ptr<Target>> fallbacks_;
  std::unique_ptr<Target> mirror_;
  std::shared_ptr<const Transform> transform_;
  std::atomic<uint64_t> mirror_turn_ = 0;
  const std::shared_ptr<RetryBudget> retries_;
  const std::shared_ptr<RetryBudget> hedges_;
  std::array<std::atomic<uint64_t>, 5> splits_{};
};

}  // namespace sluice::gateway
