// BlockFeed: what a model's prefix cache holds, kept for those who watch it from outside.
//
// The engine tells its changes; a watcher that comes later is told first what has added up. Of a
// cache with more than kMaxTold blocks a newcomer is told so many: what it does not know of counts
// as absent there, which costs a hit and never an answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_set>
#include <vector>

#include "base/prefix_hash.h"
#include "completion/backend.h"

namespace sluice::serving {

// Any thread.
class BlockFeed {
 public:
  static constexpr size_t kMaxTold = size_t{1} << 18;
  static constexpr size_t kMaxWatchers = 64;

  void apply(std::span<const PrefixChange> changes);
  // kResourceExhausted when there are kMaxWatchers.
  Outcome watch(std::shared_ptr<completion::BlockWatcher> watcher);

 private:
  void drop_those_over();

  std::mutex mutex_;  // also keeps the watchers' calls in order
  std::unordered_set<uint64_t> held_;
  std::vector<std::shared_ptr<completion::BlockWatcher>> watchers_;
};

}  // namespace sluice::serving
