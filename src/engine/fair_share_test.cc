#include "engine/fair_share.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::engine {
namespace {

TEST(FairShare, ANewTenantStartsWhereTheFurthestBehindIs) {
  FairShare shares;
  Share& a = shares.join(0, "a");
  Share& b = shares.join(0, "b");
  a.clock += 1000;
  b.clock += 700;
  EXPECT_EQ(shares.join(0, "c").clock, 700);
  EXPECT_EQ(shares.join(1, "c").clock, 0) << "priorities have clocks of their own";
}

TEST(FairShare, ComingBackNeitherEarnsNorForgives) {
  FairShare shares;
  Share& a = shares.join(0, "a");
  Share& b = shares.join(0, "b");
  a.clock += 1000;
  shares.leave(a);
  EXPECT_EQ(shares.join(0, "a").clock, 1000) << "what it ran ahead stays";
  shares.leave(a);
  b.clock += 5000;
  EXPECT_EQ(shares.join(0, "a").clock, 5000) << "absence earns no credit";
}

TEST(FairShare, OneTenantAloneKeepsItsClock) {
  FairShare shares;
  Share& a = shares.join(0, "a");
  a.clock += 1000;
  shares.leave(a);
  EXPECT_EQ(shares.join(0, "b").clock, 1000);
}

TEST(FairShare, AbsentTenantsAreForgotten) {
  FairShare shares;
  shares.join(0, "stays");
  for (int i = 0; i < 6'000; ++i) {
    Share& share = shares.join(0, std::to_string(i));
    share.clock += 10;
    shares.leave(share);
  }
  EXPECT_LE(shares.size(), 4200u);
}

}  // namespace
}  // namespace sluice::engine
