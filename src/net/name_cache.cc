#include "net/name_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace sluice::net {

NameCache::NameCache(const Clock& clock, LookUp look_up)
    : clock_(clock), look_up_(std::move(look_up)) {}

NameCache::~NameCache() { threads_.reset(); }

NameCache& NameCache::shared() {
  static NameCache cache;
  return cache;
}

std::optional<NameCache::Addresses> NameCache::find(const std::string& host, uint16_t port,
                                                    Done done) {
  if (auto address = numeric_address(host, port)) return Addresses{*address};
  const std::string origin = fmt::format("{}:{}", host, port);
  {
    const std::lock_guard lock(mutex_);
    if (!entries_.contains(origin)) make_room();
    Entry& entry = entries_[origin];
    const TimePoint now = clock_.now();
    const bool known = !entry.addresses.empty();
    const bool stale = !known || now - entry.at >= kFresh;
    bool asked = entry.asking;
    if (!asked && stale && now >= entry.ask_next) asked = ask(origin, host, port, entry);
    if (known && (now - entry.at < kUsable || !asked)) return entry.addresses;
    if (asked) {
      entry.waiting.push_back(std::move(done));
      return std::nullopt;
    }
    entries_.erase(origin);
  }
  done(fail(Code::kResourceExhausted, fmt::format("cannot resolve '{}': too many names wait for "
                                                  "their addresses already",
                                                  host)));
  return std::nullopt;
}

// The oldest that nobody waits for gives way.
void NameCache::make_room() {
  if (entries_.size() < kMaxNames) return;
  auto oldest = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->second.asking) continue;
    if (oldest == entries_.end() || it->second.at < oldest->second.at) oldest = it;
  }
  if (oldest != entries_.end()) entries_.erase(oldest);
}

bool NameCache::ask(const std::string& origin, const std::string& host, uint16_t port,
                    Entry& entry) {
  if (!threads_) threads_ = std::make_unique<WorkerPool>(kThreads, kMaxNames);
  entry.asking =
      threads_->submit([this, origin, host, port] { look_up(origin, host, port); }).has_value();
  return entry.asking;
}

void NameCache::look_up(const std::string& origin, const std::string& host, uint16_t port) {
  Result<Addresses> found = look_up_(host, port);
  std::vector<Done> waiting;
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[origin];
    entry.asking = false;
    waiting.swap(entry.waiting);
    if (found) {
      entry.addresses = *found;
      entry.at = clock_.now();
    } else if (!entry.addresses.empty()) {
      log_warn("{}; what was known stays", found.error().message());
      found = entry.addresses;
      entry.ask_next = clock_.now() + kPause;
    } else {
      entries_.erase(origin);
    }
  }
  for (const Done& done : waiting) done(found);
}

}  // namespace sluice::net
