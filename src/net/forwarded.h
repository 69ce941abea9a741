// Who really asks, where proxies stand between: X-Forwarded-For, believed of known proxies only.
// Pure functions on foreign text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "net/http.h"

namespace sluice::net {

// An IPv4 or IPv6 network. IPv4 is kept in its IPv6 form (RFC 4291 §2.5.5.2).
struct Network {
  std::array<uint8_t, 16> address{};
  int prefix = 128;  // bits of address that count

  bool contains(const std::array<uint8_t, 16>& other) const;
  bool operator==(const Network&) const = default;
};

// "10.0.0.0/8", "::1", "192.0.2.7". Refuses bits set behind the prefix, which are a mistake.
Result<Network> parse_network(std::string_view text);

class TrustedProxies {
 public:
  explicit TrustedProxies(std::vector<Network> networks) : networks_(std::move(networks)) {}

  // The client of a request that came from `peer` ("address:port"): walks X-Forwarded-For from its
  // end for as long as the sender is trusted. What no proxy of ours wrote is never believed. Where
  // nothing is, `peer` itself.
  std::string client(const std::string& peer, const Headers& headers) const;

 private:
  bool trusts(std::string_view address) const;

  const std::vector<Network> networks_;
};

}  // namespace sluice::net
