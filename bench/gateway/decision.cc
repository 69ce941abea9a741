// How long a choice among 64 replicas takes for a prompt of 8,192 token ids: hashing its blocks,
// finding the longest beginning, choosing, counting, remembering. Prompts share beginnings as
// conversations do.
//   decision [seconds]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "gateway/target.h"

namespace {

using namespace sluice;
using namespace sluice::gateway;

constexpr int kReplicas = 64;
constexpr size_t kTokens = 8192;
constexpr size_t kBlock = 16;

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  plan::Upstream settings;
  settings.name = "u";
  for (int i = 0; i < kReplicas; ++i) {
    settings.endpoints.push_back({.name = "replica-" + std::to_string(i),
                                  .url = "http://10.0.0." + std::to_string(i + 1) + ":8000"});
  }
  auto memory = std::make_shared<TargetMemory>();
  memory->index = std::make_shared<PrefixIndex>(1 << 16);
  Target target(std::make_shared<Upstream>(settings), {.policy = plan::Policy::kPrefixAffinity},
                memory, system_clock(), 1);
  Rng rng(1);
  std::vector<std::vector<int32_t>> prompts(256);
  for (auto& prompt : prompts) {
    for (size_t i = 0; i < kTokens; ++i) {
      prompt.push_back(static_cast<int32_t>(i < 2048 ? i : rng.below(32'000)));
    }
  }
  std::vector<ReplicaLease> held;
  std::vector<double> times;
  const TimePoint end = system_clock().now() + Duration(static_cast<int64_t>(seconds * 1e9));
  std::vector<PrefixHash> chain;
  while (system_clock().now() < end) {
    const auto& prompt = prompts[rng.below(prompts.size())];
    const TimePoint begin = system_clock().now();
    PrefixHash hash = prefix_salt("tenant");
    chain.clear();
    for (size_t at = 0; at < kTokens; at += kBlock) {
      chain.push_back(hash = extend_prefix(hash, {prompt.data() + at, kBlock}));
    }
    const TimePoint hashed = system_clock().now();
    auto lease = target.choose({.prefix = chain});
    const TimePoint chosen = system_clock().now();
    if (!lease) return 1;
    times.push_back(to_seconds(chosen - hashed));
    times.push_back(to_seconds(hashed - begin));
    if (held.size() < 128) {
      held.push_back(std::move(*lease));
    } else {
      held.clear();
    }
  }
  std::vector<double> choose;
  std::vector<double> hashing;
  for (size_t i = 0; i < times.size(); i += 2) {
    choose.push_back(times[i]);
    hashing.push_back(times[i + 1]);
  }
  std::ranges::sort(choose);
  std::ranges::sort(hashing);
  const auto show = [](const char* name, const std::vector<double>& sorted) {
    std::printf("%s: p50 %.2f us, p99 %.2f us (%zu)\n", name, sorted[sorted.size() / 2] * 1e6,
                sorted[sorted.size() * 99 / 100] * 1e6, sorted.size());
  };
  show("hash 512 blocks", hashing);
  show("choose among 64", choose);
  return 0;
}
