#include "base/ip_network.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(IpNetwork, TakesAddressesAndPrefixes) {
  for (const auto* good : {"10.0.0.0/8", "192.0.2.7", "::1", "fd00::/8", "0.0.0.0/0", "::/0"}) {
    EXPECT_TRUE(parse_ip_network(good)) << good;
  }
  for (const auto* bad :
       {"", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.1/8", "10.0.0",
        "fd00::/129", "fd00::1/8", "host", "1.2.3.4:80"}) {
    const auto network = parse_ip_network(bad);
    ASSERT_FALSE(network) << bad;
    EXPECT_NE(network.error().message().find("10.0.0.0/8"), std::string::npos);
  }
}

}  // namespace
}  // namespace sluice
