#include "gateway/upstream.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

namespace sluice::gateway {
namespace {

ReplicaInfo make_info(const plan::Upstream& upstream, const TlsPtr& tls,
                      const plan::Endpoint& endpoint) {
  ReplicaInfo info;
  info.name = endpoint.name;
  info.upstream = upstream.name;
  info.url = endpoint.url;
  info.kind =
      upstream.kind == plan::UpstreamKind::kSluice ? ReplicaKind::kSluice : ReplicaKind::kForeign;
  info.internal_token = upstream.internal_token;
  info.tls = tls;
  if (upstream.tls) info.tls_name = upstream.tls->server_name;
  return info;
}

// A replica is another one when anything that requests to it depend on differs.
bool same_replica(const ReplicaInfo& a, const ReplicaInfo& b) {
  return a.name == b.name && a.url == b.url && a.kind == b.kind &&
         a.internal_token == b.internal_token && a.tls == b.tls && a.tls_name == b.tls_name;
}

}  // namespace

Upstream::Upstream(const plan::Upstream& settings, TlsPtr tls)
    : name_(settings.name),
      settings_(std::make_shared<const plan::Upstream>(settings)),
      tls_(std::move(tls)),
      replicas_(std::make_shared<const ReplicaList>()) {
  rebuild(settings.endpoints);
  configure_hold();
  look_at_places(system_clock().now());
}

void Upstream::configure(const plan::Upstream& settings, TlsPtr tls) {
  {
    const std::lock_guard lock(mutex_);
    if (tls == tls_ && settings == *settings_) return;
    tls_ = std::move(tls);
    const bool discovered = settings.dns || settings.file;
    settings_ = std::make_shared<const plan::Upstream>(settings);
    std::vector<plan::Endpoint> known;
    for (const auto& replica : *replicas_) {
      known.push_back({replica->info().name, replica->info().url, replica->weight()});
    }
    rebuild(discovered ? known : settings.endpoints);
    configure_hold();
  }
  look_at_places(system_clock().now());
}

void Upstream::set_endpoints(const std::vector<plan::Endpoint>& endpoints) {
  {
    const std::lock_guard lock(mutex_);
    rebuild(endpoints);
  }
  look_at_places(system_clock().now());
}

// Mutex held.
void Upstream::configure_hold() {
  if (!settings_->hold) {
    if (const auto before = std::exchange(hold_, nullptr)) before->set_places(-1);
    return;
  }
  const plan::HoldPlan& hold = *settings_->hold;
  const plan::Queue queue{
      .max_concurrent = 0, .max_waiting = hold.max_held, .max_wait = hold.max_wait};
  if (hold_) return hold_->configure(queue);
  hold_ = std::make_shared<Admission>(queue);
  hold_->set_places(0);
}

std::shared_ptr<Admission> Upstream::hold() const {
  const std::lock_guard lock(mutex_);
  return hold_;
}

void Upstream::retire() {
  const std::lock_guard lock(places_mutex_);
  retired_ = true;
  if (const auto waited_for = hold()) waited_for->set_places(-1);
}

void Upstream::look_at_places(TimePoint now) {
  const std::lock_guard lock(places_mutex_);
  if (retired_) return;
  const auto list = replicas();
  const auto places = [&](auto&& may) {
    int64_t sum = 0;
    int found = 0;
    for (const auto& replica : *list) {
      if (!may(*replica)) continue;
      ++found;
      const int most = replica->max_outstanding();
      sum = most == 0 || sum < 0 ? -1 : std::min<int64_t>(sum + most, 1'000'000'000);
    }
    return std::pair(found, static_cast<int>(sum));
  };
  auto [usable, sum] = places([now](const ReplicaState& each) { return each.open(now); });
  load_->set_usable(usable);
  const auto waited_for = hold();
  if (!waited_for) return;
  // As where one is chosen: a replica of ours that passes its checks is better than none.
  if (usable == 0 && settings()->kind == plan::UpstreamKind::kSluice) {
    sum = places([](const ReplicaState& each) { return each.healthy(); }).second;
  }
  waited_for->set_places(sum);
}

void Upstream::rebuild(const std::vector<plan::Endpoint>& endpoints) {
  auto list = std::make_shared<ReplicaList>();
  for (const plan::Endpoint& endpoint : endpoints) {
    ReplicaInfo info = make_info(*settings_, tls_, endpoint);
    const auto same = std::ranges::find_if(
        *replicas_, [&](const auto& replica) { return same_replica(replica->info(), info); });
    if (same != replicas_->end()) {
      (*same)->configure(*settings_, endpoint.weight);
      list->push_back(*same);
      continue;
    }
    const size_t slot = free_slots_.empty() ? next_slot_++ : *free_slots_.begin();
    free_slots_.erase(slot);
    list->push_back(
        std::make_shared<ReplicaState>(std::move(info), *settings_, slot, endpoint.weight));
  }
  for (const auto& old : *replicas_) {
    if (std::ranges::find(*list, old) != list->end()) continue;
    old->retire();
    free_slots_.insert(old->slot());
    freed_.push_back(old->slot());
  }
  replicas_ = std::move(list);
}

std::shared_ptr<const ReplicaList> Upstream::replicas() const {
  const std::lock_guard lock(mutex_);
  return replicas_;
}

std::shared_ptr<UpstreamBlocks> Upstream::blocks() const {
  const std::lock_guard lock(mutex_);
  return blocks_;
}

void Upstream::want_blocks(size_t capacity) {
  const std::lock_guard lock(mutex_);
  if (capacity == 0) {
    blocks_.reset();
  } else if (!blocks_ || blocks_->directory().capacity() != std::bit_ceil(capacity)) {
    blocks_ = std::make_shared<UpstreamBlocks>(capacity);
  }
}

std::shared_ptr<const plan::Upstream> Upstream::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

std::vector<size_t> Upstream::take_freed_slots() {
  const std::lock_guard lock(mutex_);
  return std::exchange(freed_, {});
}

}  // namespace sluice::gateway
