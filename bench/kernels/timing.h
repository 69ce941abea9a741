// Timing of one call over and over: the median and the best run.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace sluice::bench {

struct Seconds {
  double median;
  double best;
};

inline double now() {
  const auto t = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(t).count();
}

// Seconds of one f() over the given time, at least five runs after one that warms up.
template <typename F>
Seconds measure(double seconds, F f) {
  f();
  std::vector<double> runs;
  const double end = now() + seconds;
  while (runs.size() < 5 || now() < end) {
    const double start = now();
    f();
    runs.push_back(now() - start);
  }
  std::sort(runs.begin(), runs.end());
  return {runs[runs.size() / 2], runs.front()};
}

}  // namespace sluice::bench
