// TrafficSplit: which branch of a route a request takes.
//
// A branch whose headers match goes first. With a sticky key the branch is the highest of weighted
// rendezvous hashes, which depends on key, names and weights only: it is the same after a reload
// and in another gateway, and a changed weight moves no more keys than it must. Otherwise smooth
// weighted round robin: every run of sum-of-weights requests has the exact shares.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "plan/plan.h"

namespace sluice::gateway {

enum class SplitReason { kOnly, kHeader, kSticky, kWeight, kSpill };

struct SplitChoice {
  size_t target = 0;
  SplitReason reason = SplitReason::kOnly;
};

// Any thread.
class TrafficSplit {
 public:
  explicit TrafficSplit(const std::vector<plan::Target>& targets);

  // `header` yields a request header's value, null when absent. `usable` tells whether a branch
  // has a replica now: one that has none is passed over (kSpill). Nothing when no branch is left.
  std::optional<SplitChoice> choose(
      std::string_view sticky_key,
      FunctionRef<std::optional<std::string_view>(std::string_view)> header,
      FunctionRef<bool(size_t)> usable);

 private:
  std::optional<size_t> by_weight(FunctionRef<bool(size_t)> usable);
  std::optional<size_t> by_key(std::string_view key, FunctionRef<bool(size_t)> usable) const;

  const std::vector<plan::Target> targets_;
  std::vector<std::string> names_;
  std::mutex mutex_;
  std::vector<double> current_;
};

// Highest weighted rendezvous score wins (Wang, Ravishankar: "weighted rendezvous hashing").
double rendezvous_score(std::string_view key, std::string_view name, double weight);

}  // namespace sluice::gateway
