#include "pinned_threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

void pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(processor), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

}  // namespace

std::vector<int> usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> found;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(static_cast<size_t>(i), &set)) found.push_back(i);
  }
  return found;
}

double run_pinned(int threads, FunctionRef<void(int)> work) {
  const std::vector<int> processors = usable_processors();
  const auto count = static_cast<size_t>(threads);
  SpinBarrier start(threads);
  std::vector<Clock::time_point> begin(count), end(count);
  {
    std::vector<std::jthread> running;
    for (size_t i = 0; i < count; ++i) {
      running.emplace_back([&, i] {
        pin(processors[i]);
        start.wait();
        begin[i] = Clock::now();
        work(static_cast<int>(i));
        end[i] = Clock::now();
      });
    }
  }
  return std::chrono::duration<double>(*std::ranges::max_element(end) -
                                       *std::ranges::min_element(begin))
      .count();
}

}  // namespace sluice::bench
