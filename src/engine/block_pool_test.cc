#include "engine/block_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/rng.h"

namespace sluice::engine {
namespace {

PrefixHash hash_of(uint64_t n) { return {n, ~n}; }

TEST(BlockPool, GivesEveryBlockOnceAndTakesThemBack) {
  BlockPool pool(3);
  std::vector<int32_t> blocks = {pool.allocate(), pool.allocate(), pool.allocate()};
  std::ranges::sort(blocks);
  EXPECT_EQ(blocks, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(pool.free_count(), 0);
  for (const int32_t block : blocks) pool.release(block);
  EXPECT_EQ(pool.free_count(), 3);
  pool.check_integrity();
}

TEST(BlockPool, AReleasedBlockKeepsItsPrefixUntilItIsTheOldest) {
  BlockPool pool(3);
  for (uint64_t n = 0; n < 3; ++n) pool.publish(pool.allocate(), hash_of(n));
  for (const uint64_t n : {1, 0, 2}) pool.release(*pool.find(hash_of(n)));
  EXPECT_EQ(pool.cached_count(), 3);

  pool.allocate();  // evicts the one released first
  EXPECT_FALSE(pool.find(hash_of(1)));
  EXPECT_TRUE(pool.find(hash_of(0)));

  // Use makes it the most recent.
  const int32_t used = *pool.find(hash_of(0));
  pool.retain(used);
  pool.release(used);
  pool.allocate();
  EXPECT_FALSE(pool.find(hash_of(2)));
  EXPECT_TRUE(pool.find(hash_of(0)));
  pool.check_integrity();
}

TEST(BlockPool, BlocksWithoutAPrefixAreUsedFirst) {
  BlockPool pool(2);
  const int32_t cached = pool.allocate();
  const int32_t plain = pool.allocate();
  pool.publish(cached, hash_of(1));
  pool.release(cached);
  pool.release(plain);
  EXPECT_EQ(pool.allocate(), plain);
  EXPECT_TRUE(pool.find(hash_of(1)));
  pool.check_integrity();
}

TEST(BlockPool, TheFirstToCarryAPrefixKeepsIt) {
  BlockPool pool(2);
  const int32_t first = pool.allocate();
  const int32_t second = pool.allocate();
  pool.publish(first, hash_of(1));
  pool.publish(second, hash_of(1));
  EXPECT_EQ(pool.find(hash_of(1)), first);
  pool.release(second);
  EXPECT_EQ(pool.cached_count(), 0);
  pool.check_integrity();
}

TEST(BlockPoolDeathTest, MisuseAborts) {
  BlockPool pool(1);
  const int32_t block = pool.allocate();
  EXPECT_DEATH(pool.allocate(), "exhausted");
  pool.release(block);
  EXPECT_DEATH(pool.release(block), "more often than held");
  EXPECT_DEATH(pool.publish(block, hash_of(1)), "nobody holds");
}

TEST(BlockPool, StaysConsistentUnderRandomUse) {
  Rng rng(11);
  BlockPool pool(20);
  std::vector<int32_t> held;
  for (int i = 0; i < 5000; ++i) {
    const uint64_t dice = rng.below(4);
    if (dice == 0 && pool.free_count() > 0) {
      held.push_back(pool.allocate());
    } else if (dice == 1 && !held.empty()) {
      const size_t which = rng.below(held.size());
      pool.release(held[which]);
      held.erase(held.begin() + static_cast<ptrdiff_t>(which));
    } else if (dice == 2 && !held.empty()) {
      pool.publish(held[rng.below(held.size())], hash_of(rng.below(40)));
    } else if (const auto found = pool.find(hash_of(rng.below(40)))) {
      pool.retain(*found);
      held.push_back(*found);
    }
    pool.check_integrity();
  }
}

TEST(BlockPool, ItsChangesAddUpToWhatItFinds) {
  BlockPool pool(16);
  pool.keep_changes();
  Rng rng(5);
  std::set<uint64_t> told;
  std::vector<int32_t> held;
  for (int round = 0; round < 2000; ++round) {
    if (pool.free_count() > 0 && rng.below(2) == 0) {
      held.push_back(pool.allocate());
      pool.publish(held.back(), hash_of(rng.below(40)));
    } else if (!held.empty()) {
      const auto at = static_cast<ptrdiff_t>(rng.below(held.size()));
      pool.release(held[static_cast<size_t>(at)]);
      held.erase(held.begin() + at);
    }
    for (const PrefixChange& change : pool.take_changes()) {
      EXPECT_EQ(change.stored ? told.insert(change.tag).second : told.erase(change.tag) == 1, true);
    }
    for (uint64_t n = 0; n < 40; ++n) {
      ASSERT_EQ(told.contains(prefix_tag(hash_of(n))), pool.find(hash_of(n)).has_value());
    }
  }
}

}  // namespace
}  // namespace sluice::engine
