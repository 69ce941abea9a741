#include "engine/fair_share.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace sluice::engine {
namespace {

// Absent tenants are swept out when more than these are remembered.
constexpr size_t kSweepAbove = 256;
constexpr size_t kMostAbsent = 4096;

}  // namespace

Share& FairShare::join(int priority, const std::string& tenant) {
  if (shares_.size() > kSweepAbove) forget_absent();
  const int64_t floor = floor_of(priority);
  Share& share = shares_[Key(priority, tenant)];
  if (share.sequences == 0) share.clock = std::max(share.clock, floor);
  ++share.sequences;
  return share;
}

int64_t FairShare::floor_of(int priority) const {
  int64_t least = std::numeric_limits<int64_t>::max();
  int64_t greatest = 0;
  for (auto at = shares_.lower_bound(Key(priority, "")); at != shares_.end(); ++at) {
    if (at->first.first != priority) break;
    greatest = std::max(greatest, at->second.clock);
    if (at->second.sequences > 0) least = std::min(least, at->second.clock);
  }
  return least == std::numeric_limits<int64_t>::max() ? greatest : least;
}

void FairShare::forget_absent() {
  // What an absent tenant ran ahead matters only until the others have caught up.
  const bool all = shares_.size() > kMostAbsent;
  std::optional<int> priority;
  int64_t floor = 0;
  for (auto at = shares_.begin(); at != shares_.end();) {
    if (priority != at->first.first) {
      priority = at->first.first;
      floor = floor_of(*priority);
    }
    const Share& share = at->second;
    const bool forget = share.sequences == 0 && (all || share.clock <= floor);
    at = forget ? shares_.erase(at) : std::next(at);
  }
}

}  // namespace sluice::engine
