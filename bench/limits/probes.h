// Probes of the machine's limits. Each does a known amount of work as fast as the machine allows.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

namespace sluice::bench {

struct Probe {
  std::string_view name;
  std::string_view unit;
  std::string_view what;
  // One sample with `threads` threads, in `unit`.
  std::function<double(int threads)> sample;
  bool smaller_is_better = false;
};

// Those that this processor can run. `seconds` is what a sample of an arithmetic probe takes,
// `memory_bytes` the size of the buffer that the memory probe reads. `threads` is the largest
// number that samples will be taken with.
std::vector<Probe> make_probes(int threads, double seconds, size_t memory_bytes);

}  // namespace sluice::bench
