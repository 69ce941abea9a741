// How long a choice among 64 replicas takes for a prompt of 8,192 token ids: hashing its blocks,
// finding the longest beginning, choosing, counting, remembering. By what was sent where, and by
// what the replicas say that they hold. Prompts share beginnings as conversations do.
//   decision [seconds]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "gateway/target.h"

namespace {

using namespace sluice;
using namespace sluice::gateway;

constexpr int kReplicas = 64;
constexpr size_t kTokens = 8192;
constexpr int kBlock = 16;

struct Times {
  std::vector<double> hash;
  std::vector<double> choose;
};

void show(const char* name, std::vector<double>& times) {
  std::ranges::sort(times);
  std::printf("%s: p50 %.2f us, p99 %.2f us (%zu)\n", name, times[times.size() / 2] * 1e6,
              times[times.size() * 99 / 100] * 1e6, times.size());
}

using Prompts = std::vector<std::vector<int32_t>>;

Prompts make_prompts(Rng& rng) {
  Prompts prompts(256);
  for (auto& prompt : prompts) {
    for (size_t i = 0; i < kTokens; ++i) {
      prompt.push_back(static_cast<int32_t>(i < 2048 ? i : rng.below(32'000)));
    }
  }
  return prompts;
}

std::vector<PrefixHash> hashes_of(std::span<const int32_t> tokens) {
  std::vector<PrefixHash> chain;
  PrefixHash hash = prompt_salt("tenant", "");
  for (size_t at = 0; at < kTokens; at += kBlock) {
    chain.push_back(hash = extend_prefix(hash, tokens.subspan(at, kBlock)));
  }
  return chain;
}

// Every prompt is held by one replica, as far as its fair share of the cache goes, and the common
// beginning by all.
void fill(UpstreamBlocks& blocks, const Prompts& prompts) {
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto chain = block_chain(prompts[i], {.block_size = kBlock}, "tenant", "");
    const size_t slot = i % kReplicas;
    blocks.directory().change(chain, slot, true);
    blocks.directory().change(std::span(chain).first(2048 / kBlock), slot, true);
  }
}

template <typename Hash, typename Query>
Times measure(Target& target, const Prompts& prompts, double seconds, Hash hash, Query query) {
  Rng rng(2);
  Times times;
  std::vector<ReplicaLease> held;
  const TimePoint end = system_clock().now() + Duration(static_cast<int64_t>(seconds * 1e9));
  while (system_clock().now() < end) {
    const auto& prompt = prompts[rng.below(prompts.size())];
    const TimePoint begin = system_clock().now();
    const auto chain = hash(prompt);
    const TimePoint hashed = system_clock().now();
    auto lease = target.choose(query(chain));
    const TimePoint chosen = system_clock().now();
    if (!lease) std::abort();
    times.hash.push_back(to_seconds(hashed - begin));
    times.choose.push_back(to_seconds(chosen - hashed));
    if (held.size() < 128) {
      held.push_back(std::move(*lease));
    } else {
      held.clear();
    }
  }
  return times;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  plan::Upstream settings;
  settings.name = "u";
  for (int i = 0; i < kReplicas; ++i) {
    settings.endpoints.push_back({.name = "replica-" + std::to_string(i),
                                  .url = "http://10.0.0." + std::to_string(i + 1) + ":8000"});
  }
  const auto upstream = std::make_shared<Upstream>(settings);
  auto memory = std::make_shared<TargetMemory>();
  memory->index = std::make_shared<PrefixIndex>(1 << 16);
  Target target(upstream, {.policy = plan::Policy::kPrefixAffinity}, memory, system_clock(), 1);
  Rng rng(1);
  const Prompts prompts = make_prompts(rng);
  Times sent = measure(target, prompts, seconds, hashes_of,
                       [](const auto& chain) { return Target::Query{.prefix = chain}; });
  show("hash 512 blocks", sent.hash);
  show("choose among 64, by what was sent", sent.choose);

  upstream->want_blocks(1 << 18);
  fill(*upstream->blocks(), prompts);
  Times told = measure(
      target, prompts, seconds,
      [](const auto& prompt) { return block_chain(prompt, {.block_size = kBlock}, "tenant", ""); },
      [](const auto& chain) { return Target::Query{.blocks = chain}; });
  show("hash 512 blocks", told.hash);
  show("choose among 64, by what they hold", told.choose);
  return 0;
}
