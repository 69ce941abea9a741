#include "net/name_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "net/client.h"
#include "net/event_loop.h"
#include "net/url.h"

namespace sluice::net {

NameCache& NameCache::shared() {
  static NameCache cache;
  return cache;
}

Result<std::vector<SocketAddress>> NameCache::get(const std::string& host, uint16_t port) {
  const std::string origin = fmt::format("{}:{}", host, port);
  const Duration good_for = EventLoop::current() != nullptr ? Duration(kUsable) : Duration(kFresh);
  {
    const std::lock_guard lock(mutex_);
    const auto known = entries_.find(origin);
    if (known != entries_.end() && clock_.now() - known->second.at < good_for) {
      return known->second.addresses;
    }
  }
  SLUICE_RETURN_IF_ERROR(refresh(host, port));
  const std::lock_guard lock(mutex_);
  return entries_[origin].addresses;
}

Outcome NameCache::refresh(const std::string& host, uint16_t port) {
  SLUICE_ASSIGN_OR_RETURN(auto addresses, resolve(host, port));
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= kMaxNames) {
    entries_.erase(
        std::ranges::min_element(entries_, {}, [](const auto& entry) { return entry.second.at; }));
  }
  entries_[fmt::format("{}:{}", host, port)] = {clock_.now(), std::move(addresses)};
  return {};
}

Outcome refresh_name(std::string_view url) {
  SLUICE_ASSIGN_OR_RETURN(const Url parts, parse_url(url));
  return NameCache::shared().refresh(parts.host, parts.port);
}

}  // namespace sluice::net
