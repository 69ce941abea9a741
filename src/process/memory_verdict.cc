#include "process/memory_verdict.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::process {
namespace {

constexpr uint64_t kNear = 10;  // a tenth of the limit

// It may have been faster than the next look.
bool near_limit(const MemoryFacts& facts) {
  return facts.watched && facts.memory + std::max(facts.growth, facts.limit / kNear) >= facts.limit;
}

}  // namespace

MemoryVerdict judge_memory(const MemoryFacts& facts) {
  if (facts.over_limit) {
    return {true, fmt::format("it had more than its {} bytes of memory", facts.limit)};
  }
  if (facts.killed && facts.own_kills > 0) {
    return {true, fmt::format("the kernel killed it for want of memory; it may have {} bytes",
                              facts.limit)};
  }
  if (!facts.killed || facts.asked) return {};
  if (near_limit(facts)) {
    return {true, fmt::format("it was killed from outside when it had {} of its {} bytes of memory",
                              facts.memory, facts.limit)};
  }
  if (facts.kills_around == 0) return {};
  return {false,
          fmt::format("it was killed from outside; since it started, the kernel has killed {} of "
                      "the processes in the control group around it for want of memory, and this "
                      "may have been one",
                      facts.kills_around)};
}

}  // namespace sluice::process
