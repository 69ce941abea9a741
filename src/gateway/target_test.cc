// Policies, prefix affinity and leases over replicas that are only states.
#include "gateway/target.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <list>
#include <map>
#include <numeric>
#include <queue>

#include "gateway/gateway_test_support.h"
#include "gateway/text_prefix.h"

namespace sluice::gateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::upstream_of;

struct Bench {
  explicit Bench(plan::Policy policy, const plan::Upstream& settings = upstream_of(4),
                 plan::PrefixPlan prefix = {})
      : upstream(std::make_shared<Upstream>(settings)), memory(std::make_shared<TargetMemory>()) {
    if (policy == plan::Policy::kPrefixAffinity) {
      memory->index = std::make_shared<PrefixIndex>(prefix.index_blocks);
    }
    target = std::make_unique<Target>(
        upstream, Target::Settings{.policy = policy, .prefix = prefix, .model = ""}, memory, clock,
        7);
  }

  std::string choose(const Target::Query& query = {}) {
    auto lease = target->choose(query);
    if (!lease) return "";
    const std::string name = lease->replica().name;
    held.push_back(std::move(*lease));
    return name;
  }
  std::map<std::string, int> choose_many(int count) {
    std::map<std::string, int> counts;
    for (int i = 0; i < count; ++i) ++counts[choose()];
    return counts;
  }
  ReplicaState& replica(size_t i) { return *(*upstream->replicas())[i]; }

  ManualClock clock;
  std::shared_ptr<Upstream> upstream;
  std::shared_ptr<TargetMemory> memory;
  std::unique_ptr<Target> target;
  std::list<ReplicaLease> held;
};

TEST(Policies, RoundRobinTakesTurns) {
  Bench bench(plan::Policy::kRoundRobin);
  for (const auto& [name, count] : bench.choose_many(40)) EXPECT_EQ(count, 10) << name;
}

TEST(Policies, WeightedRoundRobinIsExactAndSmooth) {
  plan::Upstream settings = upstream_of(3);
  settings.endpoints[0].weight = 5;
  Bench bench(plan::Policy::kWeightedRoundRobin, settings);
  std::string order;
  for (int i = 0; i < 7; ++i) order += bench.choose().back();
  EXPECT_EQ(order, "0010200");
  EXPECT_EQ(bench.choose_many(7'000)["r0"], 5'000);
}

TEST(Policies, LeastOutstandingCountsFromTheChoice) {
  Bench bench(plan::Policy::kLeastOutstanding);
  for (const auto& [name, count] : bench.choose_many(8)) EXPECT_EQ(count, 2) << name;
  const std::string freed = std::next(bench.held.begin(), 3)->replica().name;
  bench.held.erase(std::next(bench.held.begin(), 3));
  EXPECT_EQ(bench.choose(), freed);
}

TEST(Policies, LeastOutstandingRespectsWeights) {
  plan::Upstream settings = upstream_of(2);
  settings.endpoints[0].weight = 3;
  Bench bench(plan::Policy::kLeastOutstanding, settings);
  EXPECT_EQ(bench.choose_many(400)["r0"], 300);
}

TEST(Policies, PowerOfTwoKeepsLoadsClose) {
  Bench bench(plan::Policy::kPowerOfTwo, upstream_of(16));
  const auto counts = bench.choose_many(1'600);
  for (const auto& [name, count] : counts) EXPECT_NEAR(count, 100, 6) << name;
  EXPECT_EQ(counts.size(), 16u);
}

TEST(Policies, StickyReplicaStaysAndMovesOnlyWhenItMust) {
  plan::Upstream settings = upstream_of(8);
  Bench bench(plan::Policy::kRoundRobin, settings);
  bench.target = std::make_unique<Target>(
      bench.upstream,
      Target::Settings{.policy = plan::Policy::kRoundRobin, .sticky_replica = true, .model = ""},
      bench.memory, bench.clock, 7);
  std::map<std::string, std::string> homes;
  for (int i = 0; i < 200; ++i) {
    const std::string user = "u" + std::to_string(i);
    homes[user] = bench.choose({.sticky_key = user, .model = ""});
  }
  settings.endpoints.pop_back();
  bench.upstream->configure(settings);
  for (const auto& [user, home] : homes) {
    const std::string now = bench.choose({.sticky_key = user, .model = ""});
    if (home != "r7") {
      EXPECT_EQ(now, home);
    } else {
      EXPECT_NE(now, "r7");
    }
  }
}

TEST(Target, PassesOverWhatIsTriedUnhealthyFullOrPaused) {
  plan::Upstream settings = upstream_of(4);
  settings.max_outstanding = 1;
  Bench bench(plan::Policy::kRoundRobin, settings);
  bench.replica(0).on_check(false, bench.clock.now());
  bench.replica(0).on_check(false, bench.clock.now());
  bench.target->pause("r1", bench.clock.now() + seconds(1));
  const std::vector<std::string> tried = {"r2"};
  EXPECT_EQ(bench.choose({.excluded = tried, .model = ""}), "r3");
  EXPECT_EQ(bench.choose({.excluded = tried, .model = ""}), "") << "r3 has its one request";
  EXPECT_EQ(bench.choose(), "r2");
  bench.clock.advance(seconds(2));
  EXPECT_EQ(bench.choose(), "r1");
  bench.replica(0).on_check(true, bench.clock.now());
  EXPECT_EQ(bench.choose(), "r0");
  EXPECT_FALSE(bench.target->usable());
  bench.held.clear();
  EXPECT_TRUE(bench.target->usable());
}

TEST(ReplicaState, ChecksThatPassAgainCloseItsBreaker) {
  ManualClock clock;
  plan::Upstream settings = upstream_of(1);
  settings.breaker.consecutive_failures = 1;
  const auto state = std::make_shared<ReplicaState>(ReplicaInfo{}, settings, 0, 1);
  state->acquire("", clock)->report(UseResult::kFailed);
  EXPECT_FALSE(state->usable(clock.now()));
  state->on_check(true, clock.now());
  EXPECT_FALSE(state->usable(clock.now())) << "it passed its checks while requests failed";
  clock.advance(settings.breaker.open_for);
  state->acquire("", clock)->report(UseResult::kNotReached);
  EXPECT_FALSE(state->usable(clock.now()));
  state->on_check(true, clock.now());
  EXPECT_TRUE(state->usable(clock.now()));
}

TEST(ReplicaState, AFullReplicaTakesNoMoreThanItMay) {
  plan::Upstream settings = upstream_of(1);
  settings.max_outstanding = 3;
  settings.breaker.consecutive_failures = 1;
  ManualClock clock;
  const auto state = std::make_shared<ReplicaState>(ReplicaInfo{}, settings, 0, 1);
  // Whoever saw room a moment ago may find none.
  std::vector<ReplicaLease> leases;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(state->usable(clock.now()), i < 3);
    if (auto lease = state->acquire("", clock)) leases.push_back(*std::move(lease));
  }
  EXPECT_EQ(leases.size(), 3u);
  EXPECT_EQ(state->outstanding(), 3);
  leases.front().report(UseResult::kFailed);
  leases.clear();
  EXPECT_FALSE(state->acquire("", clock)) << "its breaker is open";
  EXPECT_EQ(state->outstanding(), 0) << "the place was given back";
}

TEST(ReplicaState, WhatSaysNothingOfItChangesNothing) {
  plan::Upstream settings = upstream_of(1);
  settings.breaker.consecutive_failures = 1;
  ManualClock clock;
  const auto state = std::make_shared<ReplicaState>(ReplicaInfo{}, settings, 0, 1);
  state->acquire("", clock)->report(UseResult::kUntold);
  EXPECT_TRUE(state->usable(clock.now()));
  EXPECT_EQ(state->take_sample(clock.now()).requests, 0);
  state->acquire("", clock)->report(UseResult::kFailed);
  clock.advance(settings.breaker.open_for);
  // A trial that was not sent proves nothing either way, and makes room for another.
  for (int i = 0; i < 3; ++i) {
    auto trial = state->acquire("", clock);
    ASSERT_TRUE(trial);
    trial->report(UseResult::kUntold);
  }
  EXPECT_EQ(state->breaker_state(), CircuitBreaker::State::kHalfOpen);
}

TEST(Target, ChoosesByFingerprintAsLearned) {
  Bench bench(plan::Policy::kRoundRobin);
  EXPECT_EQ(bench.choose({.fingerprint = "fp_1", .model = "m"}), "");
  bench.replica(2).learn_fingerprint("m", "fp_1");
  EXPECT_EQ(bench.choose({.fingerprint = "fp_1", .model = "m"}), "r2");
  EXPECT_EQ(bench.choose({.fingerprint = "fp_2", .model = "m"}), "");
  EXPECT_EQ(bench.choose({.fingerprint = "fp_1", .model = "other"}), "");
}

TEST(Target, FailingReplicaIsTriedAgainByOneRequestAtATime) {
  plan::Upstream settings = upstream_of(2);
  settings.breaker.consecutive_failures = 2;
  settings.breaker.open_for = seconds(5);
  Bench bench(plan::Policy::kRoundRobin, settings);
  for (int i = 0; i < 2; ++i) {
    auto lease = bench.target->choose({.excluded = std::vector<std::string>{"r1"}, .model = ""});
    lease->report(UseResult::kFailed);
  }
  for (int i = 0; i < 10; ++i) EXPECT_EQ(bench.choose(), "r1");
  bench.clock.advance(seconds(5));
  const auto counts = bench.choose_many(20);
  EXPECT_EQ(counts.at("r0"), 1);
  bench.held.clear();  // all answered
  EXPECT_EQ(bench.replica(0).breaker_state(), CircuitBreaker::State::kHalfOpen);
  EXPECT_EQ(bench.choose_many(20).at("r0"), 1);
  bench.held.clear();
  EXPECT_EQ(bench.replica(0).breaker_state(), CircuitBreaker::State::kClosed);
}

TEST(Upstream, ReplicasThatStayKeepTheirStateAndSlotsAreUsedAgain) {
  plan::Upstream settings = upstream_of(3);
  Upstream upstream(settings);
  const auto before = *upstream.replicas();
  settings.endpoints.erase(settings.endpoints.begin() + 1);
  settings.endpoints.push_back({.name = "new", .url = "http://127.0.0.1:9100"});
  upstream.configure(settings);
  const auto after = *upstream.replicas();
  EXPECT_EQ(after[0], before[0]);
  EXPECT_EQ(after[1], before[2]);
  EXPECT_EQ(after[2]->slot(), 3u) << "a slot is free only once its traces are forgotten";
  EXPECT_EQ(upstream.take_freed_slots(), (std::vector<size_t>{1}));
  EXPECT_FALSE(before[1]->usable(TimePoint{}));
  settings.endpoints.push_back({.name = "newer", .url = "http://127.0.0.1:9101"});
  upstream.configure(settings);
  EXPECT_EQ(upstream.replicas()->back()->slot(), 1u);
}

// --- Prefix affinity ----------------------------------------------------------------------------

std::vector<PrefixHash> chain_of(uint64_t seed, size_t blocks) {
  std::vector<PrefixHash> chain;
  PrefixHash hash = prefix_salt(std::to_string(seed));
  for (size_t i = 0; i < blocks; ++i) {
    const std::array<int32_t, 1> token = {static_cast<int32_t>(i)};
    chain.push_back(hash = extend_prefix(hash, token));
  }
  return chain;
}

TEST(PrefixIndex, FindsTheLongestBeginning) {
  PrefixIndex index(1 << 12);
  SlotSet all;
  for (size_t i = 0; i < 4; ++i) all.add(i);
  const auto chain = chain_of(1, 40);
  index.insert(std::span(chain).first(10), 0);
  index.insert(std::span(chain).first(32), 1);
  auto match = index.find(chain, all);
  EXPECT_EQ(match.blocks, 32u);
  EXPECT_TRUE(match.slots.has(1));
  EXPECT_FALSE(match.slots.has(0));
  match = index.find(std::span(chain).first(10), all);
  EXPECT_TRUE(match.slots.has(0) && match.slots.has(1));
  index.forget(1);
  EXPECT_EQ(index.find(chain, all).blocks, 10u);
  EXPECT_EQ(index.find(chain_of(2, 40), all).blocks, 0u);
  SlotSet only2;
  only2.add(2);
  EXPECT_EQ(index.find(chain, only2).blocks, 0u);
}

TEST(PrefixIndex, IsBoundedAndForgetsTheOldestFirst) {
  PrefixIndex index(1024);
  SlotSet all;
  all.add(0);
  const auto kept = chain_of(0, 16);
  index.insert(kept, 0);
  for (uint64_t i = 1; i <= 500; ++i) {
    index.insert(chain_of(i, 16), 0);
    index.insert(kept, 0);
  }
  EXPECT_EQ(index.capacity(), 1024u);
  EXPECT_EQ(index.find(kept, all).blocks, 16u);
  int known = 0;
  for (uint64_t i = 1; i <= 100; ++i) known += index.find(chain_of(i, 16), all).blocks > 0 ? 1 : 0;
  EXPECT_LT(known, 20);
}

std::vector<uint64_t> tags_of(uint64_t seed, size_t blocks) {
  std::vector<uint64_t> tags;
  for (const PrefixHash& hash : chain_of(seed, blocks)) tags.push_back(prefix_tag(hash));
  return tags;
}

TEST(BlockDirectory, KnowsWhoHoldsTheLongestBeginningToTheBlock) {
  const auto directory = std::make_shared<BlockDirectory>(1 << 12);
  SlotSet all;
  for (size_t i = 0; i < 3; ++i) all.add(i);
  const auto chain = tags_of(1, 100);
  directory->change(std::span(chain).first(10), 0, true);
  directory->change(std::span(chain).first(53), 1, true);
  auto match = directory->find(chain, all);
  EXPECT_EQ(match.blocks, 53u) << "between two checkpoints";
  EXPECT_TRUE(match.slots.has(1) && !match.slots.has(0));
  match = directory->find(std::span(chain).first(10), all);
  EXPECT_TRUE(match.slots.has(0) && match.slots.has(1));
  // The end of a prefix is evicted before its start.
  directory->change(std::span(chain).subspan(20), 1, false);
  EXPECT_EQ(directory->find(chain, all).blocks, 20u);
  EXPECT_EQ(directory->known(), 20u);
  directory->forget(1);
  EXPECT_EQ(directory->find(chain, all).blocks, 10u);
  EXPECT_EQ(directory->find(tags_of(2, 100), all).blocks, 0u);
  EXPECT_EQ(directory->find({}, all).blocks, 0u);
}

TEST(BlockDirectory, WhatIsUnderWayCountsUntilItIsOver) {
  const auto directory = std::make_shared<BlockDirectory>(1 << 12);
  SlotSet all;
  all.add(0);
  all.add(1);
  const auto chain = tags_of(1, 40);
  auto promise = directory->promise(chain, 1);
  EXPECT_EQ(directory->find(chain, all).blocks, 40u);
  EXPECT_EQ(directory->known(), 0u) << "nobody holds them yet";
  directory->change(std::span(chain).first(30), 1, true);
  promise.reset();
  EXPECT_EQ(directory->find(chain, all).blocks, 30u);
  directory->change(chain, 1, false);
  EXPECT_EQ(directory->find(chain, all).blocks, 0u);
}

TEST(BlockDirectory, FindsWhatAModelOfItFinds) {
  const auto directory = std::make_shared<BlockDirectory>(1 << 14);
  constexpr size_t kSlots = 5;
  constexpr size_t kChains = 8;
  std::array<std::array<size_t, kChains>, kSlots> held{};  // blocks of each chain
  std::array<std::vector<uint64_t>, kChains> chains;
  for (uint64_t i = 0; i < kChains; ++i) chains[i] = tags_of(i, 60);
  SlotSet all;
  for (size_t i = 0; i < kSlots; ++i) all.add(i);
  Rng rng(9);
  for (int round = 0; round < 3000; ++round) {
    const size_t slot = rng.below(kSlots);
    const size_t chain = rng.below(kChains);
    size_t& now = held[slot][chain];
    const size_t next = rng.below(61);
    const auto tags = std::span(chains[chain]);
    if (next > now) directory->change(tags.subspan(now, next - now), slot, true);
    if (next < now) directory->change(tags.subspan(next, now - next), slot, false);
    now = next;
    size_t longest = 0;
    for (const auto& each : held) longest = std::max(longest, each[chain]);
    const PrefixMatch match = directory->find(tags, all);
    ASSERT_EQ(match.blocks, longest);
    for (size_t i = 0; i < kSlots && longest > 0; ++i) {
      ASSERT_EQ(match.slots.has(i), held[i][chain] == longest);
    }
  }
}

TEST(UpstreamBlocks, NamesPromptsAsTheirReplicasDo) {
  UpstreamBlocks blocks(1 << 12);
  EXPECT_FALSE(blocks.shape("m"));
  const api::BlockHello hello{.models = {{{"m", "alias"}, "fp", 4}, {{"other"}, "fp", 4}}};
  blocks.on_event(0, hello);
  EXPECT_FALSE(blocks.shape("m")) << "not all was told yet";
  // What the engine does with a prompt of nine tokens.
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const PrefixHash first = extend_prefix(prompt_salt("t", "s"), std::span(tokens).first(4));
  const PrefixHash second = extend_prefix(first, std::span(tokens).subspan(4, 4));
  const std::vector<uint64_t> held = {prefix_tag(first), prefix_tag(second)};
  blocks.on_event(0, api::BlockChanges{.model = 0, .stored = true, .tags = held});
  blocks.on_event(0, api::BlocksSynced{});
  const auto shape = blocks.shape("alias");
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->block_size, 4);
  SlotSet all;
  all.add(0);
  const auto found = [&](const BlockShape& s, std::string_view tenant, std::string_view salt) {
    return blocks.directory().find(block_chain(tokens, s, tenant, salt), all).blocks;
  };
  EXPECT_EQ(found(*shape, "t", "s"), 2u);
  EXPECT_EQ(found(*shape, "u", "s"), 0u);
  EXPECT_EQ(found(*shape, "t", ""), 0u);
  EXPECT_EQ(found(*blocks.shape("other"), "t", "s"), 0u) << "another model's blocks";
  EXPECT_FALSE(blocks.shape("none"));
  EXPECT_EQ(blocks.synced(), 1u);
  blocks.on_lost(0);
  EXPECT_EQ(found(*shape, "t", "s"), 0u);
  EXPECT_FALSE(blocks.shape("m"));
}

TEST(PrefixAffinity, GoesWhereTheBlocksAreSaidToBe) {
  Bench bench(plan::Policy::kPrefixAffinity, upstream_of(4));
  bench.upstream->want_blocks(1 << 12);
  const auto chain = tags_of(1, 20);
  auto& directory = bench.upstream->blocks()->directory();
  directory.change(chain, 2, true);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(bench.choose({.blocks = chain, .model = ""}), "r2");
  EXPECT_EQ(bench.target->take_decisions(Decision::kExact), 3u);
  directory.change(chain, 2, false);
  EXPECT_EQ(bench.choose({.blocks = chain, .model = ""}), "r2") << "while they are under way";
  bench.held.clear();
  EXPECT_EQ(directory.find(chain, {{~uint64_t{0}, 0}}).blocks, 0u);
  bench.choose({.blocks = chain, .model = ""});
  EXPECT_EQ(bench.target->take_decisions(Decision::kNoPrefix), 1u);
}

TEST(PrefixAffinity, FollowsThePrefixUntilTheLoadIsSkewed) {
  Bench bench(plan::Policy::kPrefixAffinity, upstream_of(4),
              {.imbalance = 8, .imbalance_ratio = 2});
  const auto chain = chain_of(1, 20);
  const std::string home = bench.choose({.prefix = chain, .model = ""});
  int stayed = 0;
  for (int i = 0; i < 12; ++i)
    stayed += bench.choose({.prefix = chain, .model = ""}) == home ? 1 : 0;
  EXPECT_EQ(stayed, 8) << "until it has eight more than the idle ones";
  EXPECT_GT(bench.target->take_decisions(Decision::kAffinity), 0u);
  EXPECT_GT(bench.target->take_decisions(Decision::kUnbalanced), 0u);
}

TEST(PrefixAffinity, TextChainsShareBeginningsPerTenantAndModel) {
  const std::string a(1000, 'a');
  const auto chain = text_prefix(a + "tail", 16, "t", "m");
  ASSERT_EQ(chain.size(), 15u);
  EXPECT_EQ(text_prefix(a + "other end that is longer than a block of the text", 16, "t", "m")[14],
            chain[14]);
  EXPECT_NE(text_prefix(a, 16, "u", "m")[0], chain[0]);
  EXPECT_NE(text_prefix(a, 16, "t", "n")[0], chain[0]);
}

// --- A simulation of conversations --------------------------------------------------------------

struct SimResult {
  double hit_rate = 0;
  double p99 = 0;  // time to first token, seconds
};

// Conversations of several turns over replicas that keep so many blocks each, one request at a
// time: a turn's prefill costs what its replica has not kept.
SimResult simulate(plan::Policy policy, uint64_t seed) {
  constexpr int kReplicas = 8;
  constexpr size_t kKeptBlocks = 1200;
  constexpr double kBlockSeconds = 0.002;
  constexpr double kDecodeSeconds = 0.05;
  Bench bench(policy, upstream_of(kReplicas));
  Rng rng(seed);
  struct Server {
    double free_at = 0;
    std::map<uint64_t, uint64_t> kept;  // block → last use
  };
  std::map<std::string, Server> servers;
  using Ending = std::pair<double, size_t>;
  std::priority_queue<Ending, std::vector<Ending>, std::greater<>> endings;
  std::map<size_t, ReplicaLease> leases;
  std::vector<std::pair<uint64_t, size_t>> talks;  // seed, blocks so far
  talks.reserve(48);
  for (int i = 0; i < 48; ++i) talks.emplace_back(rng.next(), 10 + rng.below(40));
  double now = 0;
  uint64_t tick = 0;
  size_t hits = 0;
  size_t blocks = 0;
  std::vector<double> waits;
  for (size_t n = 0; n < 3'000; ++n) {
    now += -std::log(1 - rng.uniform()) * 0.018;
    while (!endings.empty() && endings.top().first <= now) {
      leases.erase(endings.top().second);
      endings.pop();
    }
    auto& [talk, length] = talks[rng.below(talks.size())];
    length += 1 + rng.below(3);
    if (length > 150) {
      talk = rng.next();
      length = 10 + rng.below(40);
    }
    const auto chain = chain_of(talk, length);
    auto lease = bench.target->choose({.prefix = chain, .model = ""});
    Server& server = servers[lease->replica().name];
    size_t held = 0;
    while (held < chain.size() && server.kept.contains(chain[held].low)) ++held;
    for (const PrefixHash& hash : chain) server.kept[hash.low] = ++tick;
    while (server.kept.size() > kKeptBlocks) {
      server.kept.erase(std::ranges::min_element(server.kept, {},
                                                 [](const auto& entry) { return entry.second; }));
    }
    hits += held;
    blocks += chain.size();
    const double begins = std::max(now, server.free_at);
    const double first = begins + static_cast<double>(chain.size() - held) * kBlockSeconds;
    server.free_at = first + kDecodeSeconds;
    waits.push_back(first - now);
    endings.emplace(server.free_at, n);
    leases.emplace(n, std::move(*lease));
  }
  std::ranges::sort(waits);
  return {static_cast<double>(hits) / static_cast<double>(blocks), waits[waits.size() * 99 / 100]};
}

TEST(PrefixAffinity, BeatsTheOthersOnConversations) {
  constexpr uint64_t kSeed = 1;
  const SimResult affinity = simulate(plan::Policy::kPrefixAffinity, kSeed);
  const SimResult turns = simulate(plan::Policy::kRoundRobin, kSeed);
  const SimResult least = simulate(plan::Policy::kLeastOutstanding, kSeed);
  EXPECT_GT(affinity.hit_rate, 1.5 * turns.hit_rate);
  EXPECT_GT(affinity.hit_rate, 1.5 * least.hit_rate);
  EXPECT_LT(affinity.p99, turns.p99);
  EXPECT_LT(affinity.p99, least.p99);
}

}  // namespace
}  // namespace sluice::gateway
