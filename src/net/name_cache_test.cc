#include "net/name_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "net/client.h"
#include "net/test_support.h"

namespace sluice::net {
namespace {

using testing::Signal;
using testing::TestServer;

// A name server that answers when, and as, the test says.
class Names {
 public:
  NameCache::LookUp look_up() {
    return [this](const std::string& host, uint16_t port) -> Result<NameCache::Addresses> {
      ++asked;
      EXPECT_NE(std::this_thread::get_id(), tester_) << "no caller's thread looks names up";
      if (waits) EXPECT_TRUE(let_go.wait());
      if (down) return fail(Code::kUnavailable, "cannot resolve '" + host + "'");
      return NameCache::Addresses{*numeric_address("127.0.0.1", port)};
    };
  }

  std::atomic<int> asked = 0;
  std::atomic<bool> waits = false;
  std::atomic<bool> down = false;
  Signal let_go;

 private:
  const std::thread::id tester_ = std::this_thread::get_id();
};

// What find() gives at once, or else what it tells later.
struct Found {
  std::optional<NameCache::Addresses> at_once;
  std::shared_ptr<Signal> told = std::make_shared<Signal>();
  std::shared_ptr<Result<NameCache::Addresses>> later =
      std::make_shared<Result<NameCache::Addresses>>();
};
Found find(NameCache& cache, const std::string& host, uint16_t port = 80) {
  Found found;
  found.at_once =
      cache.find(host, port, [told = found.told, later = found.later](const auto& result) {
        *later = result;
        told->set();
      });
  return found;
}

TEST(NameCache, AddressesNeedNoLookUp) {
  Names names;
  NameCache cache(system_clock(), names.look_up());
  EXPECT_EQ(address_text(find(cache, "127.0.0.1", 81).at_once->front()), "127.0.0.1:81");
  EXPECT_EQ(address_text(find(cache, "::1", 82).at_once->front()), "[::1]:82");
  EXPECT_EQ(names.asked, 0);
}

TEST(NameCache, NobodyWaitsButWhoeverIsTheFirst) {
  Names names;
  ManualClock clock;
  NameCache cache(clock, names.look_up());
  names.waits = true;
  const Found first = find(cache, "a");
  const Found beside = find(cache, "a");
  EXPECT_FALSE(first.at_once || beside.at_once);
  names.let_go.set();
  ASSERT_TRUE(first.told->wait() && beside.told->wait());
  EXPECT_EQ(address_text((*first.later)->front()), "127.0.0.1:80");
  EXPECT_EQ(names.asked, 1) << "one look-up for all";
  EXPECT_TRUE(find(cache, "a").at_once);
  // Old, but good enough while somebody asks again.
  clock.advance(NameCache::kFresh);
  EXPECT_TRUE(find(cache, "a").at_once);
  while (names.asked < 2) std::this_thread::yield();
}

TEST(NameCache, WhatIsKnownOutlivesTheNameServer) {
  Names names;
  ManualClock clock;
  NameCache cache(clock, names.look_up());
  ASSERT_TRUE(find(cache, "a").told->wait());
  names.down = true;
  clock.advance(NameCache::kUsable);
  const Found old = find(cache, "a");
  ASSERT_TRUE(old.told->wait()) << "too old to be used unasked";
  ASSERT_TRUE(*old.later);
  EXPECT_EQ(address_text((*old.later)->front()), "127.0.0.1:80");
  EXPECT_TRUE(find(cache, "a").at_once) << "not asked for again at once";
  EXPECT_EQ(names.asked, 2);
  const Found unknown = find(cache, "b");
  ASSERT_TRUE(unknown.told->wait());
  EXPECT_FALSE(*unknown.later);
}

TEST(NameCache, IsBounded) {
  Names names;
  ManualClock clock;
  NameCache cache(clock, names.look_up());
  for (uint16_t port = 1; port <= 1100; ++port) {
    clock.advance(std::chrono::milliseconds(1));
    const Found found = find(cache, "a", port);
    ASSERT_TRUE(found.told->wait());
  }
  EXPECT_FALSE(find(cache, "a", 1).at_once) << "the oldest gave way";
}

TEST(ClientAndNames, ALookUpThatHangsHoldsNobodyUp) {
  Names names;
  NameCache cache(system_clock(), names.look_up());
  names.waits = true;
  TestServer server;
  const std::string port = std::to_string(server.server->port());
  ClientOptions options;
  options.names = &cache;
  HttpClient client(options);
  Signal ended;
  client.request({.url = "http://slow:" + port + "/echo"}, {.on_end = [&](const Outcome& outcome) {
                   EXPECT_TRUE(outcome);
                   ended.set();
                 }});
  EXPECT_TRUE(client.fetch({.url = "http://127.0.0.1:" + port + "/echo"})) << "the loop is free";
  EXPECT_EQ(ended.count(), 0);
  names.let_go.set();
  EXPECT_TRUE(ended.wait());
}

TEST(ClientAndNames, NamesThatAreNotFoundAreToldApart) {
  Names names;
  NameCache cache(system_clock(), names.look_up());
  names.down = true;
  ClientOptions options;
  options.names = &cache;
  HttpClient client(options);
  EXPECT_EQ(client.fetch({.url = "http://nowhere/"}).error().reason(), kNotResolved);
  names.waits = true;
  const auto late =
      client.fetch({.url = "http://slow/", .connect_timeout = std::chrono::milliseconds(20)});
  EXPECT_EQ(late.error().reason(), kNotResolved) << "the wait for it is a part of connecting";
  auto call = client.request({.url = "http://slow/"}, {});
  call.cancel();
  names.let_go.set();
}

}  // namespace
}  // namespace sluice::net
