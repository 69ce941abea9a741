// ReplicaIdentities: what Sluice replicas say they serve (GET /internal/v1/identity), remembered
// for a few seconds.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "completion/backend.h"
#include "gateway/replica.h"
#include "net/client.h"

namespace sluice::gateway {

struct ReplicaIdentity {
  bool ready = false;
  std::vector<completion::ModelCard> models;
  completion::Load load;

  // The card of `model`, or of the first one for an empty name; nullptr when there is none.
  const completion::ModelCard* find(std::string_view model) const;
};

// The answer's body → what it says. What it is not is kDataLoss.
Result<ReplicaIdentity> parse_identity(std::string_view body);

// Any thread but a client's loop, as asking blocks.
class ReplicaIdentities {
 public:
  static constexpr std::chrono::seconds kKept{5};
  static constexpr std::chrono::seconds kPatience{2};

  ReplicaIdentities(net::HttpClient& client, const Clock& clock) : client_(client), clock_(clock) {}

  // Of a Sluice replica; asks it when nothing fresh is known.
  Result<std::shared_ptr<const ReplicaIdentity>> get(const ReplicaInfo& replica);

 private:
  struct Known {
    TimePoint at;
    std::shared_ptr<const ReplicaIdentity> identity;
  };

  net::HttpClient& client_;
  const Clock& clock_;
  std::mutex mutex_;
  std::unordered_map<std::string, Known> known_;  // by URL
};

}  // namespace sluice::gateway
