#include "net/name_cache.h"

#include <gtest/gtest.h>

#include "net/client.h"

namespace sluice::net {
namespace {

TEST(NameCache, RemembersAndAsksAgain) {
  ManualClock clock;
  NameCache cache(clock);
  const auto first = cache.get("127.0.0.1", 80);
  ASSERT_TRUE(first);
  EXPECT_EQ(address_text(first->front()), "127.0.0.1:80");
  EXPECT_EQ(address_text(cache.get("127.0.0.1", 81)->front()), "127.0.0.1:81");
  clock.advance(NameCache::kFresh);
  EXPECT_TRUE(cache.get("127.0.0.1", 80));
  EXPECT_TRUE(cache.refresh("127.0.0.1", 80));
  EXPECT_FALSE(cache.refresh("no such name", 80));
  EXPECT_FALSE(cache.get("no such name", 80));
}

TEST(NameCache, IsBounded) {
  ManualClock clock;
  NameCache cache(clock);
  for (int port = 1; port <= 2000; ++port) {
    clock.advance(std::chrono::milliseconds(1));
    ASSERT_TRUE(cache.get("::1", static_cast<uint16_t>(port)));
  }
  EXPECT_TRUE(cache.get("::1", 1)) << "the oldest gave way, and is asked for anew";
}

TEST(NameCache, RefreshesByUrl) {
  EXPECT_TRUE(refresh_name("http://127.0.0.1:8000"));
  EXPECT_FALSE(refresh_name("127.0.0.1:8000"));
}

}  // namespace
}  // namespace sluice::net
