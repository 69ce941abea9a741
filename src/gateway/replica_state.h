// ReplicaState: what changes about one replica: its load, its health, what it did lately.
//
// It lives as long as the replica stands in any plan or is in use, across reloads. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "gateway/active_health.h"
#include "gateway/breaker.h"
#include "gateway/outliers.h"
#include "gateway/replica.h"
#include "plan/plan.h"

namespace sluice::gateway {

class ReplicaState : public std::enable_shared_from_this<ReplicaState> {
 public:
  ReplicaState(ReplicaInfo info, const plan::Upstream& upstream, size_t slot, double weight);

  const ReplicaInfo& info() const { return *info_; }
  // The same replica when asked for `model` (empty: what the client asked for), with the numerics
  // id known of it.
  std::shared_ptr<const ReplicaInfo> info_for(const std::string& model);
  void learn_fingerprint(const std::string& model, const std::string& fingerprint);
  std::string fingerprint(std::string_view model) const;

  void configure(const plan::Upstream& upstream, double weight);
  size_t slot() const { return slot_; }
  double weight() const { return weight_.load(std::memory_order_relaxed); }
  int outstanding() const { return outstanding_.load(std::memory_order_relaxed); }

  // Whether a request may be sent there; a half-open breaker's trials are counted by acquire().
  bool usable(TimePoint now) const;
  // As usable(), whatever its load.
  bool open(TimePoint now) const;
  int max_outstanding() const { return max_outstanding_.load(std::memory_order_relaxed); }
  // It passes its checks and has room, whatever its breaker and the outliers say: for whoever finds
  // no usable one.
  bool passable(TimePoint now) const;
  // Healthy by checks and not ejected, whatever its load.
  bool healthy() const { return healthy_.load(std::memory_order_relaxed); }
  // Unhealthy, or its breaker is open: to be looked at soon.
  bool suspect() const { return !healthy_ || !closed_; }
  bool ejected(TimePoint now) const { return now < TimePoint(Duration(ejected_until_.load())); }
  // It is gone from the plan: no new requests.
  void retire() { retired_ = true; }

  // Counts one use from here to the lease's end; null when it is full or its breaker lets none
  // through (unless it is not asked). Whether there is room and taking it are one step.
  std::optional<ReplicaLease> acquire(const std::string& model, const Clock& clock,
                                      bool ask_breaker = true);

  // One check at a time: false while another is under way, else on_check() or skip_check() follows.
  bool begin_check() { return !checking_.exchange(true); }
  void skip_check() { checking_ = false; }
  // One that was unhealthy and is healthy again starts with a closed breaker, and not ejected.
  void on_check(bool good, TimePoint now);
  bool checked() const;
  // It asked to be left alone (Retry-After).
  void pause_until(TimePoint when) { paused_until_ = when.time_since_epoch().count(); }
  void eject_until(TimePoint when) { ejected_until_ = when.time_since_epoch().count(); }
  // The earliest time when an open breaker, a pause or an ejection ends.
  TimePoint usable_at() const;
  CircuitBreaker::State breaker_state() const;

  // What it did since the last call, for outlier detection.
  ReplicaSample take_sample(TimePoint now);
  // Uses by how they ended, since the start.
  uint64_t uses(UseResult result) const { return uses_[static_cast<size_t>(result)]; }

 private:
  bool take_place();
  void release(UseResult result, Duration to_first_token, TimePoint now);
  void publish();  // mutex held: copies what usable() reads into atomics

  const std::shared_ptr<const ReplicaInfo> info_;
  const size_t slot_;
  std::atomic<double> weight_;
  std::atomic<int> max_outstanding_;
  std::atomic<int> outstanding_ = 0;
  std::atomic<bool> healthy_ = true;
  std::atomic<bool> retired_ = false;
  std::atomic<bool> checking_ = false;
  std::atomic<bool> closed_ = true;  // the breaker
  std::atomic<int64_t> breaker_until_ = 0;
  std::atomic<int64_t> paused_until_ = 0;
  std::atomic<int64_t> ejected_until_ = 0;
  std::array<std::atomic<uint64_t>, kUseResults> uses_{};

  mutable std::mutex mutex_;  // guards what follows
  CircuitBreaker breaker_;
  ActiveHealth health_;
  ReplicaSample sample_;
  Duration first_token_sum_{};
  int first_tokens_ = 0;
  std::map<std::string, std::string, std::less<>> fingerprints_;
  std::map<std::string, std::shared_ptr<const ReplicaInfo>, std::less<>> infos_;
};

}  // namespace sluice::gateway
