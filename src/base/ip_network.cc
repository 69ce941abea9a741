#include "base/ip_network.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>

namespace sluice {

std::optional<IpAddress> parse_ip_address(std::string_view text) {
  if (text.size() > INET6_ADDRSTRLEN) return std::nullopt;
  const std::string copy(text);
  IpAddress out;
  in_addr v4{};
  if (::inet_pton(AF_INET, copy.c_str(), &v4) == 1) {
    out.v4 = true;
    out.bytes[10] = out.bytes[11] = 0xff;
    std::memcpy(out.bytes.data() + 12, &v4, 4);
    return out;
  }
  if (::inet_pton(AF_INET6, copy.c_str(), out.bytes.data()) == 1) return out;
  return std::nullopt;
}

bool IpNetwork::contains(const IpAddress& other) const {
  const auto whole = static_cast<size_t>(prefix / 8);
  if (!std::equal(address.begin(), address.begin() + ptrdiff_t(whole), other.bytes.begin()))
    return false;
  const int rest = prefix % 8;
  if (rest == 0) return true;
  const int mask = 0xff00 >> rest & 0xff;
  return ((address[whole] ^ other.bytes[whole]) & mask) == 0;
}

Result<IpNetwork> parse_ip_network(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return invalid(fmt::format("expected a network such as 10.0.0.0/8 or ::1, found '{}'{}",
                               text.substr(0, 64), why));
  };
  const size_t slash = text.find('/');
  const auto address = parse_ip_address(text.substr(0, slash));
  if (!address) return wrong("");
  const int bits = address->v4 ? 32 : 128;
  int prefix = bits;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
    if (error != std::errc() || end != digits.data() + digits.size() || prefix < 0 ||
        prefix > bits) {
      return wrong(fmt::format(": the prefix is 0 to {}", bits));
    }
  }
  const IpNetwork network{.address = address->bytes, .prefix = prefix + 128 - bits};
  for (int bit = network.prefix; bit < 128; ++bit) {
    if ((network.address[static_cast<size_t>(bit / 8)] >> (7 - bit % 8) & 1) != 0) {
      return wrong(": bits behind the prefix are set");
    }
  }
  return network;
}

}  // namespace sluice
