#include "gateway/replica_state.h"

#include <algorithm>
#include <utility>

namespace sluice::gateway {

namespace {

constexpr size_t kMaxModels = 256;  // of one replica; more are not remembered

}  // namespace

ReplicaState::ReplicaState(ReplicaInfo info, const plan::Upstream& upstream, size_t slot,
                           double weight)
    : info_(std::make_shared<const ReplicaInfo>(std::move(info))),
      slot_(slot),
      weight_(weight),
      max_outstanding_(upstream.max_outstanding),
      breaker_(upstream.breaker),
      health_(upstream.health) {}

std::shared_ptr<const ReplicaInfo> ReplicaState::info_for(const std::string& model) {
  const std::lock_guard lock(mutex_);
  const auto known = infos_.find(model);
  if (known != infos_.end()) return known->second;
  ReplicaInfo info = *info_;
  info.model = model;
  if (const auto id = fingerprints_.find(model); id != fingerprints_.end()) {
    info.fingerprint = id->second;
  }
  auto made = std::make_shared<const ReplicaInfo>(std::move(info));
  if (infos_.size() < kMaxModels) infos_.emplace(model, made);
  return made;
}

void ReplicaState::learn_fingerprint(const std::string& model, const std::string& fingerprint) {
  const std::lock_guard lock(mutex_);
  if (fingerprints_.size() >= kMaxModels && !fingerprints_.contains(model)) return;
  std::string& known = fingerprints_[model];
  if (known == fingerprint) return;
  known = fingerprint;
  infos_.clear();
}

std::string ReplicaState::fingerprint(std::string_view model) const {
  const std::lock_guard lock(mutex_);
  const auto known = fingerprints_.find(model);
  return known == fingerprints_.end() ? std::string() : known->second;
}

void ReplicaState::configure(const plan::Upstream& upstream, double weight) {
  const std::lock_guard lock(mutex_);
  breaker_.configure(upstream.breaker);
  health_.configure(upstream.health);
  max_outstanding_ = upstream.max_outstanding;
  weight_ = weight;
  retired_ = false;
  publish();
}

bool ReplicaState::usable(TimePoint now) const {
  const int64_t at = now.time_since_epoch().count();
  if (at < ejected_until_ || (!closed_ && at < breaker_until_)) return false;
  return passable(now);
}

bool ReplicaState::open(TimePoint now) const {
  const int64_t at = now.time_since_epoch().count();
  if (at < ejected_until_ || at < paused_until_ || (!closed_ && at < breaker_until_)) return false;
  return healthy_ && !retired_;
}

bool ReplicaState::passable(TimePoint now) const {
  if (retired_ || !healthy_ || now.time_since_epoch().count() < paused_until_) return false;
  const int most = max_outstanding_;
  return most == 0 || outstanding_ < most;
}

void ReplicaState::publish() {
  healthy_ = health_.healthy();
  closed_ = breaker_.state() == CircuitBreaker::State::kClosed;
  breaker_until_ = breaker_.retry_at().time_since_epoch().count();
}

bool ReplicaState::take_place() {
  const int most = max_outstanding_;
  int now = outstanding_;
  do {
    if (most != 0 && now >= most) return false;
  } while (!outstanding_.compare_exchange_weak(now, now + 1));
  return true;
}

std::optional<ReplicaLease> ReplicaState::acquire(const std::string& model, const Clock& clock,
                                                  bool ask_breaker) {
  if (!take_place()) return std::nullopt;
  if (!closed_ && ask_breaker) {
    const std::lock_guard lock(mutex_);
    const bool let_in = breaker_.acquire(clock.now());
    publish();
    if (!let_in) {
      --outstanding_;
      return std::nullopt;
    }
  }
  return ReplicaLease(info_for(model),
                      [self = shared_from_this(), &clock](UseResult result, Duration first) {
                        self->release(result, first, clock.now());
                      });
}

void ReplicaState::release(UseResult result, Duration to_first_token, TimePoint now) {
  --outstanding_;
  ++uses_[static_cast<size_t>(result)];
  const std::lock_guard lock(mutex_);
  if (result != UseResult::kRefused && result != UseResult::kUntold) ++sample_.requests;
  switch (result) {
    case UseResult::kAnswered:
      breaker_.on_success(now);
      if (to_first_token > Duration::zero()) {
        first_token_sum_ += to_first_token;
        ++first_tokens_;
      }
      break;
    case UseResult::kRefused:
    case UseResult::kUntold:
      breaker_.on_neutral();
      break;
    case UseResult::kNotReached:
      health_.on_not_reached();
      [[fallthrough]];
    case UseResult::kFailed:
    case UseResult::kHung:
      breaker_.on_failure(now);
      ++sample_.failures;
      break;
  }
  publish();
}

void ReplicaState::on_check(bool good, TimePoint now) {
  checking_ = false;
  const std::lock_guard lock(mutex_);
  const bool was = health_.healthy();
  health_.on_check(good, breaker_.state() == CircuitBreaker::State::kOpen);
  if (!was && health_.healthy()) {
    breaker_.on_recovery(now);
    sample_ = {};
    ejected_until_ = 0;
  }
  publish();
}

bool ReplicaState::checked() const {
  const std::lock_guard lock(mutex_);
  return health_.checked();
}

TimePoint ReplicaState::usable_at() const {
  int64_t at = std::max<int64_t>(paused_until_, ejected_until_);
  if (!closed_) at = std::max<int64_t>(at, breaker_until_);
  return TimePoint(Duration(at));
}

CircuitBreaker::State ReplicaState::breaker_state() const {
  const std::lock_guard lock(mutex_);
  return breaker_.state();
}

ReplicaSample ReplicaState::take_sample(TimePoint now) {
  const std::lock_guard lock(mutex_);
  ReplicaSample taken = std::exchange(sample_, {});
  if (first_tokens_ > 0) taken.mean_first_token = first_token_sum_ / first_tokens_;
  taken.ejected = ejected(now);
  first_token_sum_ = {};
  first_tokens_ = 0;
  return taken;
}

}  // namespace sluice::gateway
