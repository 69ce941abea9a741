#include "net/forwarded.h"

#include <algorithm>

#include "net/syntax.h"

namespace sluice::net {

namespace {

constexpr size_t kMaxHops = 32;

// "1.2.3.4", "1.2.3.4:80", "[::1]:80", "[::1]" and "::1" without what is not the address.
std::string_view without_port(std::string_view text) {
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    return end == std::string_view::npos ? std::string_view() : text.substr(1, end - 1);
  }
  const size_t colon = text.find(':');
  const bool one = colon != std::string_view::npos && text.find(':', colon + 1) == text.npos;
  return one ? text.substr(0, colon) : text;
}

// The entries of every X-Forwarded-For field, first to last.
std::vector<std::string_view> hops(const Headers& headers) {
  std::vector<std::string_view> out;
  for (const auto& [name, value] : headers) {
    if (!equals_ignoring_case(name, "x-forwarded-for")) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      std::string_view hop = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), hop.size() + 1));
      while (hop.starts_with(' ') || hop.starts_with('\t')) hop.remove_prefix(1);
      while (hop.ends_with(' ') || hop.ends_with('\t')) hop.remove_suffix(1);
      out.push_back(hop);
    }
  }
  return out;
}

}  // namespace

bool TrustedProxies::trusts(std::string_view address) const {
  const auto parsed = parse_ip_address(address);
  return parsed && std::ranges::any_of(networks_, [&](const IpNetwork& network) {
           return network.contains(*parsed);
         });
}

std::string TrustedProxies::client(const std::string& peer, const Headers& headers) const {
  if (!trusts(without_port(peer))) return peer;
  std::string_view client = peer;
  const std::vector<std::string_view> all = hops(headers);
  for (size_t i = 0; i < std::min(all.size(), kMaxHops); ++i) {
    const std::string_view hop = without_port(all[all.size() - 1 - i]);
    if (!parse_ip_address(hop)) break;
    client = hop;
    if (!trusts(hop)) break;
  }
  return std::string(client);
}

}  // namespace sluice::net
