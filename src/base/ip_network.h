// Addresses and networks of IPv4 and IPv6, from text. Pure functions on foreign text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/status.h"

namespace sluice {

// IPv4 is kept in its IPv6 form (RFC 4291 §2.5.5.2).
struct IpAddress {
  std::array<uint8_t, 16> bytes{};
  bool v4 = false;
};

// "192.0.2.7", "2001:db8::1"; no port, no brackets, no zone.
std::optional<IpAddress> parse_ip_address(std::string_view text);

struct IpNetwork {
  std::array<uint8_t, 16> address{};
  int prefix = 128;  // bits of address that count

  bool contains(const IpAddress& other) const;
  bool operator==(const IpNetwork&) const = default;
};

// "10.0.0.0/8", "::1", "192.0.2.7". Refuses bits set behind the prefix, which are a mistake.
Result<IpNetwork> parse_ip_network(std::string_view text);

}  // namespace sluice
