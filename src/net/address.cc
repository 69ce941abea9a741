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

// Besides the link-local block: Alibaba's, Oracle's and Azure's.
constexpr std::array kNoService4 = {
    Block4{v4(0, 0, 0, 0), 8},      Block4{v4(169, 254, 0, 0), 16},
    Block4{v4(224, 0, 0, 0), 3},    Block4{v4(100, 100, 100, 200), 32},
    Block4{v4(192, 0, 0, 192), 32}, Block4{v4(168, 63, 129, 16), 32},
};

bool is_outside(std::span<const Block4> blocks, uint32_t address) {
  return std::ranges::none_of(blocks, [&](const Block4& block) {
    return (address ^ block.first) >> (32 - block.prefix) == 0;
  });
}

bool is_public_v4(uint32_t address) { return is_outside(kNotPublic4, address); }

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

bool is_service_v6(std::span<const uint8_t, 16> a) {
  constexpr std::array<uint8_t, 16> kLoopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  constexpr std::array<uint8_t, 16> kAmazon = {0xfd, 0, 0x0e, 0xc2, 0, 0, 0,    0,
                                               0,    0, 0,    0,    0, 0, 0x02, 0x54};
  constexpr std::array<uint8_t, 16> kGoogle = {0xfd, 0x20, 0, 0xce, 0, 0, 0,    0,
                                               0,    0,    0, 0,    0, 0, 0x02, 0x54};
  constexpr std::array<uint8_t, 12> kNat64 = {0, 0x64, 0xff, 0x9b};
  const auto is = [&](std::span<const uint8_t> other) {
    return std::ranges::equal(other, a.first(other.size()));
  };
  if (is(kLoopback)) return true;
  // Mapped (::ffff:0:0/96), compatible (::/96), NAT64; then 6to4.
  const bool low = std::ranges::all_of(a.first<10>(), [](uint8_t byte) { return byte == 0; }) &&
                   a[10] == a[11] && (a[10] == 0 || a[10] == 0xff);
  if (low || is(kNat64)) return is_outside(kNoService4, v4(a[12], a[13], a[14], a[15]));
  if (a[0] == 0x20 && a[1] == 0x02) return is_outside(kNoService4, v4(a[2], a[3], a[4], a[5]));
  const bool link_local = a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
  return !link_local && a[0] != 0xff && !is(kAmazon) && !is(kGoogle);
}

// False for every other family.
template <typename V4, typename V6>
bool judge(const SocketAddress& address, V4 of_v4, V6 of_v6) {
  if (address.storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address.storage, sizeof(in));
    return of_v4(ntohl(in.sin_addr.s_addr));
  }
  if (address.storage.ss_family != AF_INET6) return false;
  sockaddr_in6 in{};
  std::memcpy(&in, &address.storage, sizeof(in));
  return of_v6(std::span<const uint8_t, 16>(in.sin6_addr.s6_addr));
}

}  // namespace

bool is_public_address(const SocketAddress& address) {
  return judge(address, is_public_v4, is_public_v6);
}

bool is_service_address(const SocketAddress& address) {
  return judge(address, [](uint32_t v4) { return is_outside(kNoService4, v4); }, is_service_v6);
}

}  // namespace sluice::net
