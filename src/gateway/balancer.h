// Balancer: ReplicaChooser over the snapshot in force.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "gateway/replica.h"
#include "gateway/snapshot.h"

namespace sluice::gateway {

class Balancer : public ReplicaChooser {
 public:
  using CurrentSnapshot = std::function<std::shared_ptr<const Snapshot>()>;

  explicit Balancer(CurrentSnapshot snapshot) : snapshot_(std::move(snapshot)) {}

  Result<ReplicaLease> choose(const ChooseRequest& request) override;
  void learn_fingerprint(const ReplicaInfo& replica, const std::string& model,
                         const std::string& fingerprint) override;
  std::string known_fingerprint(const ReplicaInfo& replica, const std::string& model) override;

 private:
  std::shared_ptr<ReplicaState> find(const ReplicaInfo& replica) const;

  const CurrentSnapshot snapshot_;
};

}  // namespace sluice::gateway
