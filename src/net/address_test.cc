#include "net/address.h"

#include <gtest/gtest.h>

namespace sluice::net {
namespace {

bool is_public(const std::string& text) {
  const auto addresses = resolve(text, 80);
  EXPECT_TRUE(addresses) << text;
  return addresses && is_public_address(addresses->front());
}

// Item 51: the forms of an address that a resolver takes.
TEST(Address, InnerOnesInEverySpelling) {
  for (const std::string text : {"127.0.0.1",
                                 "127.1",
                                 "2130706433",
                                 "0177.0.0.1",
                                 "0x7f.1",
                                 "0.0.0.0",
                                 "10.0.0.1",
                                 "100.64.0.1",
                                 "100.127.255.255",
                                 "169.254.169.254",
                                 "172.16.0.1",
                                 "172.31.255.255",
                                 "192.168.1.1",
                                 "192.0.0.8",
                                 "192.0.2.1",
                                 "198.18.0.1",
                                 "198.19.255.255",
                                 "198.51.100.7",
                                 "203.0.113.9",
                                 "224.0.0.1",
                                 "240.0.0.1",
                                 "255.255.255.255",
                                 "::",
                                 "::1",
                                 "::ffff:127.0.0.1",
                                 "::ffff:10.0.0.1",
                                 "::127.0.0.1",
                                 "64:ff9b::7f00:1",
                                 "fe80::1",
                                 "fc00::1",
                                 "fd12:3456::1",
                                 "ff02::1",
                                 "2001:db8::1",
                                 "2001::1",
                                 "2002:7f00:1::",
                                 "3fff::1"}) {
    EXPECT_FALSE(is_public(text)) << text;
  }
}

TEST(Address, PublicOnes) {
  for (const std::string text :
       {"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1",
        "192.0.1.1", "198.17.0.1", "223.255.255.255", "::ffff:8.8.8.8", "2606:4700::1111",
        "2001:4860:4860::8888", "2a00::1"}) {
    EXPECT_TRUE(is_public(text)) << text;
  }
}

TEST(Address, OtherFamiliesAreNotPublic) {
  SocketAddress address;
  address.storage.ss_family = AF_UNIX;
  EXPECT_FALSE(is_public_address(address));
}

TEST(Address, ServicesAreAskedEverywhereButWhereSecretsAreTold) {
  const auto may = [](const std::string& text) {
    return is_service_address(*numeric_address(text, 80));
  };
  for (const std::string text :
       {"127.0.0.1", "10.1.2.3", "100.64.0.1", "8.8.8.8", "::1", "2001:db8::1", "fd00::1",
        "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1"}) {
    EXPECT_TRUE(may(text)) << text;
  }
  for (const std::string text :
       {"169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "100.100.100.200",
        "192.0.0.192", "168.63.129.16", "fe80::1", "::", "ff02::1", "::ffff:169.254.169.254",
        "::169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
        "fd00:ec2::254", "fd20:ce::254"}) {
    EXPECT_FALSE(may(text)) << text;
  }
}

}  // namespace
}  // namespace sluice::net
