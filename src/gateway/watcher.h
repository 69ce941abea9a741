// Watcher: what the gateway does by itself, on an event loop: checks of replicas, outlier
// detection, the discovery of replicas by DNS and files, and streams of their block events.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/worker_pool.h"
#include "gateway/block_listener.h"
#include "gateway/snapshot.h"
#include "net/client.h"
#include "net/event_loop.h"

namespace sluice::gateway {

// Begun and destroyed on the loop's thread (or once it has ended).
class Watcher : public std::enable_shared_from_this<Watcher> {
 public:
  using CurrentSnapshot = std::function<std::shared_ptr<const Snapshot>()>;

  // Names of DNS sources are resolved and files are read on `workers`.
  Watcher(net::EventLoop& loop, net::HttpClient& client, WorkerPool& workers,
          CurrentSnapshot snapshot, const Clock& clock);

  void begin();
  void end();

 private:
  struct Due {
    TimePoint check{};
    TimePoint check_again{};  // the suspects
    TimePoint outliers{};
    TimePoint discovery{};
    bool discovering = false;
  };

  void tick();
  void check(const std::shared_ptr<Upstream>& upstream, const plan::Upstream& settings,
             bool only_suspect);
  void check_replica(const std::shared_ptr<Upstream>& upstream,
                     const std::shared_ptr<ReplicaState>& replica, const plan::Upstream& settings);
  void look_at(const Snapshot& snapshot);
  static void forget_freed(const Snapshot& snapshot, const std::shared_ptr<Upstream>& upstream);
  void find_outliers_of(Upstream& upstream, const plan::Upstream& settings);
  void discover(const std::shared_ptr<Upstream>& upstream,
                const std::shared_ptr<const plan::Upstream>& settings);

  net::EventLoop& loop_;
  net::HttpClient& client_;
  WorkerPool& workers_;
  const CurrentSnapshot snapshot_;
  const Clock& clock_;
  net::EventLoop::Timer timer_;
  std::shared_ptr<const Snapshot> seen_;  // last
  std::vector<std::shared_ptr<Upstream>>
      awake_;                       // of it: those with replicas, or that look for some
  std::map<std::string, Due> due_;  // by upstream
  BlockListener blocks_;
  bool ended_ = false;
};

// The endpoints that a DNS name or a file stands for now. Blocks.
Result<std::vector<plan::Endpoint>> discover_endpoints(const plan::Upstream& upstream);

}  // namespace sluice::gateway
