#include "gateway/upstream.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
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
}

void Upstream::configure(const plan::Upstream& settings, TlsPtr tls) {
  const std::lock_guard lock(mutex_);
  tls_ = std::move(tls);
  const bool discovered = settings.endpoints.empty();
  settings_ = std::make_shared<const plan::Upstream>(settings);
  if (!discovered) return rebuild(settings.endpoints);
  std::vector<plan::Endpoint> known;
  for (const auto& replica : *replicas_) {
    known.push_back({replica->info().name, replica->info().url, replica->weight()});
  }
  rebuild(known);
}

void Upstream::set_endpoints(const std::vector<plan::Endpoint>& endpoints) {
  const std::lock_guard lock(mutex_);
  rebuild(endpoints);
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
