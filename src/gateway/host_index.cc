#include "gateway/host_index.h"

#include <algorithm>

namespace sluice::gateway {
namespace {

bool is_below(std::string_view pattern) { return pattern.starts_with("*."); }

}  // namespace

std::string host_name(std::string_view host) {
  if (const size_t colon = host.rfind(':');
      colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos) {
    host = host.substr(0, colon);
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string name(host);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

bool host_matches(const std::vector<std::string>& patterns, std::string_view host) {
  return std::ranges::any_of(patterns, [&](std::string_view pattern) {
    if (!is_below(pattern)) return pattern == host;
    const std::string_view end = pattern.substr(1);
    return host.size() > end.size() && host.ends_with(end);
  });
}

void HostIndex::add(std::string_view pattern, size_t item) {
  std::vector<size_t>& items = is_below(pattern) ? below_[pattern.substr(1)] : exact_[pattern];
  if (items.empty() || items.back() != item) items.push_back(item);
}

void HostIndex::find(std::string_view host, Lists& lists) const {
  if (const auto found = exact_.find(host); found != exact_.end())
    lists.emplace_back(found->second);
  if (below_.empty()) return;
  for (size_t dot = host.find('.', 1); dot != std::string_view::npos;
       dot = host.find('.', dot + 1)) {
    const auto found = below_.find(host.substr(dot));
    if (found != below_.end()) lists.emplace_back(found->second);
  }
}

}  // namespace sluice::gateway
