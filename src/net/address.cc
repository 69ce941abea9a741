#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

namespace sluice::net {

namespace {

struct Block4 {
  uint32_t first;
  int prefix;
};

constexpr uint32_t v4(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

constexpr std::array kNotPublic4 = {
    Block4{v4(0, 0, 0, 0), 8},      Block4{v4(10, 0, 0, 0), 8},     Block4{v4(100, 64, 0, 0), 10},
    Block4{v4(127, 0, 0, 0), 8},    Block4{v4(169, 254, 0, 0), 16}, Block4{v4(172, 16, 0, 0), 12},
    Block4{v4(192, 0, 0, 0), 24},   Block4{v4(192, 0, 2, 0), 24},   Block4{v4(192, 88, 99, 0), 24},
    Block4{v4(192, 168, 0, 0), 16}, Block4{v4(198, 18, 0, 0), 15},  Block4{v4(198, 51, 100, 0), 24},
    Block4{v4(203, 0, 113, 0), 24}, Block4{v4(224, 0, 0, 0), 3},
};

bool is_public_v4(uint32_t address) {
  return std::ranges::none_of(kNotPublic4, [&](const Block4& block) {
    return (address ^ block.first) >> (32 - block.prefix) == 0;
  });
}

bool is_public_v6(std::span<const uint8_t, 16> a) {
  constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::equal(kMapped.begin(), kMapped.end(), a.begin())) {
    return is_public_v4(v4(a[12], a[13], a[14], a[15]));
  }
  if ((a[0] & 0xe0) != 0x20) return false;                     // only 2000::/3 is global unicast
  if (a[0] == 0x20 && a[1] == 0x02) return false;              // 6to4: an IPv4 address inside
  if (a[0] == 0x20 && a[1] == 0x01 && a[2] < 2) return false;  // 2001::/23: Teredo and others
  if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) return false;
  return !(a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10);  // 3fff::/20, documentation
}

}  // namespace

bool is_public_address(const SocketAddress& address) {
  if (address.storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address.storage, sizeof(in));
    return is_public_v4(ntohl(in.sin_addr.s_addr));
  }
  if (address.storage.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &address.storage, sizeof(in));
    return is_public_v6(in.sin6_addr.s6_addr);
  }
  return false;
}

}  // namespace sluice::net
