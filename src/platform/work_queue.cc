#include "platform/work_queue.h"

#include <algorithm>
#include <utility>

namespace sluice::platform {

void WorkQueue::add_at(const WorkKey& key, TimePoint due) {
  const std::lock_guard lock(mutex_);
  const auto at = places_.find(key);
  if (at != places_.end()) {
    Place& place = at->second;
    if (place.due <= due) return;
    if (later_.erase({place.due, place.order, key}) == 0) return;  // it is due already
    place.due = due;
    later_.insert({due, place.order, key});
  } else {
    if (places_.size() >= options_.max_keys) {
      overflowed_ = true;
      return;
    }
    const Place place{due, next_order_++};
    places_.emplace(key, place);
    later_.insert({due, place.order, key});
  }
  changed_.notify_one();
}

void WorkQueue::ripen(TimePoint now) {
  while (!later_.empty() && later_.begin()->due <= now) {
    auto node = later_.extract(later_.begin());
    const Later& later = node.value();
    due_.insert({later.key.kind, later.order, later.key});
  }
}

std::optional<WorkKey> WorkQueue::take() {
  const std::lock_guard lock(mutex_);
  ripen(clock_.now());
  if (due_.empty()) return std::nullopt;
  WorkKey key = due_.extract(due_.begin()).value().key;
  places_.erase(key);
  return key;
}

void WorkQueue::finish(const WorkKey& key, const WorkDone& done) {
  Duration pause{};
  {
    const std::lock_guard lock(mutex_);
    if (!done.failed) {
      failures_.erase(key);
      if (!done.again) return;
      pause = *done.again;
    } else {
      int& failures = failures_[key];
      constexpr int kMaxDoublings = 30;
      pause = options_.first_pause * (int64_t{1} << std::min(failures, kMaxDoublings));
      pause = std::min(pause, options_.max_pause);
      ++failures;
      if (done.again) pause = std::min(pause, *done.again);
    }
  }
  add_after(key, pause);
}

std::optional<TimePoint> WorkQueue::next_due() const {
  const std::lock_guard lock(mutex_);
  if (!due_.empty()) return clock_.now();
  if (later_.empty()) return std::nullopt;
  return later_.begin()->due;
}

size_t WorkQueue::size() const {
  const std::lock_guard lock(mutex_);
  return places_.size();
}

bool WorkQueue::overflowed() {
  const std::lock_guard lock(mutex_);
  return std::exchange(overflowed_, false);
}

void WorkQueue::run(const std::stop_token& stop,
                    const std::function<WorkDone(const WorkKey&)>& work) {
  while (!stop.stop_requested()) {
    if (const auto key = take()) {
      finish(*key, work(*key));
      continue;
    }
    std::unique_lock lock(mutex_);
    const auto ripe = [&] {
      return !due_.empty() || (!later_.empty() && later_.begin()->due <= clock_.now());
    };
    if (later_.empty()) {
      changed_.wait(lock, stop, [&] { return !later_.empty() || ripe(); });
    } else {
      // Something earlier may come meanwhile, which ripe() does not see: so the first time out
      // wins.
      const TimePoint until = later_.begin()->due;
      changed_.wait_until(lock, stop, until, [&] {
        return ripe() || (!later_.empty() && later_.begin()->due < until);
      });
    }
  }
}

}  // namespace sluice::platform
