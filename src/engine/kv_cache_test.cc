#include "engine/kv_cache.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice::engine {
namespace {

Sequence sequence_of(RequestId id, int tokens, std::string tenant = "", std::string salt = "") {
  Request request;
  request.id = id;
  request.prompt.resize(size_t(tokens));
  for (int i = 0; i < tokens; ++i) request.prompt[size_t(i)] = i % 7;
  request.tenant = std::move(tenant);
  request.cache_salt = std::move(salt);
  return make_sequence(std::move(request), 1000, {});
}

void compute(KvCache& cache, Sequence& sequence, int tokens) {
  cache.grow(sequence, tokens);
  sequence.computed = tokens;
  cache.publish(sequence);
}

TEST(KvCache, FindsTheLongestCachedPrefixButLeavesATokenToCompute) {
  KvCache cache(32, 4, PrefixCaching::kOn);
  Sequence first = sequence_of(1, 16);
  compute(cache, first, 16);

  Sequence same = sequence_of(2, 16);
  EXPECT_EQ(cache.adopt_prefix(same), 12);  // the last block would leave nothing to compute
  EXPECT_EQ(same.blocks, std::vector<int32_t>(first.blocks.begin(), first.blocks.begin() + 3));

  Sequence longer = sequence_of(3, 17);
  EXPECT_EQ(cache.adopt_prefix(longer), 16);

  Sequence differs = sequence_of(4, 17);
  differs.tokens[5] = 100;
  EXPECT_EQ(cache.adopt_prefix(differs), 4);
  const std::vector<const Sequence*> holders = {&first, &same, &longer, &differs};
  cache.check_integrity(holders);
}

TEST(KvCache, SaltAndTenantKeepPrefixesApart) {
  KvCache cache(32, 4, PrefixCaching::kOn);
  Sequence first = sequence_of(1, 16, "ab", "c");
  compute(cache, first, 16);
  for (const auto& [tenant, salt] : {std::pair{"a", "bc"}, {"ab", ""}, {"", "abc"}}) {
    Sequence other = sequence_of(2, 16, tenant, salt);
    EXPECT_EQ(cache.adopt_prefix(other), 0) << tenant << "/" << salt;
  }
  Sequence same = sequence_of(3, 16, "ab", "c");
  EXPECT_EQ(cache.adopt_prefix(same), 12);
}

TEST(KvCache, PromptLogprobsAndASwitchedOffCacheReadNoPrefix) {
  KvCache cache(32, 4, PrefixCaching::kOn);
  Sequence first = sequence_of(1, 16);
  compute(cache, first, 16);
  Sequence scored = sequence_of(2, 16);
  scored.sampling.prompt_logprobs = 0;
  EXPECT_EQ(cache.adopt_prefix(scored), 0);
  scored.prompt_logprobs_done = 15;
  EXPECT_EQ(cache.adopt_prefix(scored), 12) << "all were published: after a preemption it may";

  KvCache off(32, 4, PrefixCaching::kOff);
  Sequence a = sequence_of(3, 16);
  compute(off, a, 16);
  Sequence b = sequence_of(4, 16);
  EXPECT_EQ(off.adopt_prefix(b), 0);
}

TEST(KvCache, OneWaitsForAPrefixThatIsBeingComputed) {
  KvCache cache(32, 4, PrefixCaching::kOn);
  Sequence producer = sequence_of(1, 16);
  cache.announce(producer);
  Sequence same = sequence_of(2, 16);
  EXPECT_TRUE(cache.should_wait(same));

  compute(cache, producer, 8);
  EXPECT_TRUE(cache.should_wait(same)) << "the third block is still to come";
  compute(cache, producer, 12);
  EXPECT_FALSE(cache.should_wait(same)) << "the rest must be computed anyhow";

  Sequence other = sequence_of(3, 16, "other");
  EXPECT_FALSE(cache.should_wait(other));
}

TEST(KvCache, NobodyWaitsForOneThatIsGoneOrLessUrgent) {
  KvCache cache(32, 4, PrefixCaching::kOn);
  Sequence producer = sequence_of(1, 16);
  producer.priority = 5;
  cache.announce(producer);
  Sequence urgent = sequence_of(2, 16);
  EXPECT_FALSE(cache.should_wait(urgent));

  // The urgent one computes it then, and is worth waiting for.
  cache.announce(urgent);
  Sequence third = sequence_of(3, 16);
  EXPECT_TRUE(cache.should_wait(third));
  cache.release(urgent);
  EXPECT_FALSE(cache.should_wait(third));
}

TEST(KvCache, TheEndOfAPrefixIsEvictedBeforeItsStart) {
  KvCache cache(4, 4, PrefixCaching::kOn);
  Sequence first = sequence_of(1, 16);
  compute(cache, first, 16);
  cache.release(first);
  EXPECT_EQ(first.computed, 0);
  Sequence other = sequence_of(2, 4, "other");
  compute(cache, other, 4);
  Sequence again = sequence_of(3, 17);
  EXPECT_EQ(cache.adopt_prefix(again), 12);
}

}  // namespace
}  // namespace sluice::engine
