// BlockListener: keeps a stream of block events open to every Sluice replica of the upstreams whose
// routes balance by them. A stream that breaks is opened anew, after a while.
#pragma once

#include <map>
#include <memory>

#include "base/clock.h"
#include "gateway/replica_state.h"
#include "gateway/snapshot.h"
#include "gateway/upstream_blocks.h"
#include "net/client.h"

namespace sluice::gateway {

// On one loop's thread, which is the client's.
class BlockListener {
 public:
  BlockListener(net::HttpClient& client, const Clock& clock) : client_(client), clock_(clock) {}
  ~BlockListener() { end(); }

  // A look at who is there; often.
  void tick(const Snapshot& snapshot);
  void end();

 private:
  class Line;

  net::HttpClient& client_;
  const Clock& clock_;
  std::map<std::shared_ptr<ReplicaState>, std::shared_ptr<Line>> lines_;
};

}  // namespace sluice::gateway
