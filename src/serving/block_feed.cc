#include "serving/block_feed.h"

#include <algorithm>
#include <utility>

namespace sluice::serving {

void BlockFeed::drop_those_over() {
  std::erase_if(watchers_, [](const auto& watcher) { return watcher->over(); });
}

void BlockFeed::apply(std::span<const PrefixChange> changes) {
  const std::lock_guard lock(mutex_);
  for (const PrefixChange& change : changes) {
    if (change.stored) {
      held_.insert(change.tag);
    } else {
      held_.erase(change.tag);
    }
  }
  drop_those_over();
  for (const auto& watcher : watchers_) watcher->on_blocks(changes);
}

Outcome BlockFeed::watch(std::shared_ptr<completion::BlockWatcher> watcher) {
  const std::lock_guard lock(mutex_);
  drop_those_over();
  if (watchers_.size() >= kMaxWatchers) {
    return fail(Code::kResourceExhausted, "too many watch this prefix cache already");
  }
  std::vector<PrefixChange> all;
  all.reserve(std::min(held_.size(), kMaxTold));
  for (const uint64_t tag : held_) {
    if (all.size() == kMaxTold) break;
    all.push_back({.tag = tag, .stored = true});
  }
  watcher->on_blocks(all);
  watchers_.push_back(std::move(watcher));
  return {};
}

}  // namespace sluice::serving
