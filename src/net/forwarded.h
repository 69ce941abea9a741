// Who really asks, where proxies stand between: X-Forwarded-For, believed of known proxies only.
// Pure functions on foreign text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ip_network.h"
#include "net/http.h"

namespace sluice::net {

class TrustedProxies {
 public:
  explicit TrustedProxies(std::vector<IpNetwork> networks) : networks_(std::move(networks)) {}

  // The client of a request that came from `peer` ("address:port"): walks X-Forwarded-For from its
  // end for as long as the sender is trusted. What no proxy of ours wrote is never believed. Where
  // nothing is, `peer` itself.
  std::string client(const std::string& peer, const Headers& headers) const;

 private:
  bool trusts(std::string_view address) const;

  const std::vector<IpNetwork> networks_;
};

}  // namespace sluice::net
