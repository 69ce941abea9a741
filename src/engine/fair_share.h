// FairShare: whose turn it is among the tenants of one priority. Start-time fair queueing (Goyal,
// Vin, Cheng, SIGCOMM'96) with equal weights: a tenant's clock advances by the rows scheduled for
// it, and the tenant whose clock is furthest behind goes first.
//
// A tenant that was away joins at the clock of the one furthest behind, so absence earns no credit,
// and keeps what it ran ahead, so coming back in small pieces gains nothing. Owned by the
// scheduler, engine thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace sluice::engine {

// One tenant's clock within one priority.
struct Share {
  int64_t clock = 0;  // rows
  int sequences = 0;  // waiting or running
};

class FairShare {
 public:
  // A sequence of the tenant arrives; the reference lasts until its leave().
  Share& join(int priority, const std::string& tenant);
  void leave(Share& share) { --share.sequences; }
  // Tenants that are remembered, with or without sequences.
  size_t size() const { return shares_.size(); }

 private:
  using Key = std::pair<int, std::string>;

  // The least clock among the tenants of this priority that have sequences; without any, the
  // greatest of all.
  int64_t floor_of(int priority) const;
  void forget_absent();

  std::map<Key, Share> shares_;
};

}  // namespace sluice::engine
