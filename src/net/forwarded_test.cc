#include "net/forwarded.h"

#include <gtest/gtest.h>

namespace sluice::net {
namespace {

TrustedProxies trusting(const std::vector<std::string>& networks) {
  std::vector<IpNetwork> parsed;
  for (const std::string& text : networks) {
    auto network = parse_ip_network(text);
    EXPECT_TRUE(network) << text;
    if (network) parsed.push_back(*network);
  }
  return TrustedProxies(std::move(parsed));
}

TEST(TrustedProxies, StrangersAreNotBelieved) {
  const auto proxies = trusting({"10.0.0.0/8"});
  EXPECT_EQ(proxies.client("192.0.2.1:5000", {{"X-Forwarded-For", "1.1.1.1"}}), "192.0.2.1:5000");
  EXPECT_EQ(proxies.client("11.0.0.1:5000", {{"X-Forwarded-For", "1.1.1.1"}}), "11.0.0.1:5000");
  EXPECT_EQ(proxies.client("unix", {{"X-Forwarded-For", "1.1.1.1"}}), "unix");
}

TEST(TrustedProxies, TheFirstThatIsNoProxyIsTheClient) {
  const auto proxies = trusting({"10.0.0.0/8", "::1"});
  EXPECT_EQ(proxies.client("10.1.2.3:9", {}), "10.1.2.3:9");
  EXPECT_EQ(proxies.client("10.1.2.3:9", {{"X-Forwarded-For", "1.1.1.1"}}), "1.1.1.1");
  // What the client itself wrote stands before what our proxy wrote.
  EXPECT_EQ(proxies.client("10.1.2.3:9", {{"X-Forwarded-For", "6.6.6.6, 1.1.1.1, 10.9.9.9"}}),
            "1.1.1.1");
  EXPECT_EQ(proxies.client("[::1]:9", {{"x-forwarded-for", "6.6.6.6"},
                                       {"X-Forwarded-For", "[2001:db8::7]:443\t"}}),
            "2001:db8::7");
  EXPECT_EQ(proxies.client("10.1.2.3:9", {{"X-Forwarded-For", "10.0.0.1, 10.0.0.2"}}), "10.0.0.1");
}

TEST(TrustedProxies, GarbageEndsTheWalk) {
  const auto proxies = trusting({"10.0.0.0/8"});
  for (const std::string junk :
       {"", ",", "unknown", "_hidden", "1.2.3", "[::1", "1.1.1.1 2.2.2.2", "999.1.1.1"}) {
    EXPECT_EQ(proxies.client("10.1.2.3:9", {{"X-Forwarded-For", junk}}), "10.1.2.3:9") << junk;
    EXPECT_EQ(proxies.client("10.1.2.3:9", {{"X-Forwarded-For", junk + ", 10.0.0.5"}}), "10.0.0.5");
  }
  std::string many = "1.1.1.1";
  for (int i = 0; i < 100; ++i) many += ", 10.0.0.1";
  EXPECT_EQ(proxies.client("10.1.2.3:9", {{"X-Forwarded-For", many}}), "10.0.0.1");
}

TEST(TrustedProxies, NetworksCountByBits) {
  const auto proxies = trusting({"10.0.0.128/25", "2001:db8::/33"});
  const Headers asked = {{"X-Forwarded-For", "1.1.1.1"}};
  EXPECT_EQ(proxies.client("10.0.0.128:1", asked), "1.1.1.1");
  EXPECT_EQ(proxies.client("10.0.0.255:1", asked), "1.1.1.1");
  EXPECT_EQ(proxies.client("10.0.0.127:1", asked), "10.0.0.127:1");
  EXPECT_EQ(proxies.client("[2001:db8:7fff::1]:1", asked), "1.1.1.1");
  EXPECT_EQ(proxies.client("[2001:db8:8000::1]:1", asked), "[2001:db8:8000::1]:1");
}

}  // namespace
}  // namespace sluice::net
