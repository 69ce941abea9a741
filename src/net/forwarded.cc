#include "net/forwarded.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "net/syntax.h"

namespace sluice::net {

namespace {

constexpr size_t kMaxHops = 32;

struct Address {
  std::array<uint8_t, 16> bytes{};
  bool v4 = false;
};

std::optional<Address> parse_address(std::string_view text) {
  if (text.size() > INET6_ADDRSTRLEN) return std::nullopt;
  const std::string copy(text);
  Address out;
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

bool Network::contains(const std::array<uint8_t, 16>& other) const {
  const auto whole = static_cast<size_t>(prefix / 8);
  if (!std::equal(address.begin(), address.begin() + ptrdiff_t(whole), other.begin())) return false;
  const int rest = prefix % 8;
  if (rest == 0) return true;
  const int mask = 0xff00 >> rest & 0xff;
  return ((address[whole] ^ other[whole]) & mask) == 0;
}

Result<Network> parse_network(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return invalid(fmt::format("expected a network such as 10.0.0.0/8 or ::1, found '{}'{}",
                               text.substr(0, 64), why));
  };
  const size_t slash = text.find('/');
  const auto address = parse_address(text.substr(0, slash));
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
  const Network network{.address = address->bytes, .prefix = prefix + 128 - bits};
  for (int bit = network.prefix; bit < 128; ++bit) {
    if ((network.address[static_cast<size_t>(bit / 8)] >> (7 - bit % 8) & 1) != 0) {
      return wrong(": bits behind the prefix are set");
    }
  }
  return network;
}

bool TrustedProxies::trusts(std::string_view address) const {
  const auto parsed = parse_address(address);
  return parsed && std::ranges::any_of(networks_, [&](const Network& network) {
           return network.contains(parsed->bytes);
         });
}

std::string TrustedProxies::client(const std::string& peer, const Headers& headers) const {
  if (!trusts(without_port(peer))) return peer;
  std::string_view client = peer;
  const std::vector<std::string_view> all = hops(headers);
  for (size_t i = 0; i < std::min(all.size(), kMaxHops); ++i) {
    const std::string_view hop = without_port(all[all.size() - 1 - i]);
    if (!parse_address(hop)) break;
    client = hop;
    if (!trusts(hop)) break;
  }
  return std::string(client);
}

}  // namespace sluice::net
