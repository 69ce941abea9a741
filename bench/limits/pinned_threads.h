// PinnedThreads: one thread on each of the first N processors that this process may use, all
// starting a piece of work together.
#pragma once

#include <atomic>
#include <vector>

#include "base/function_ref.h"

namespace sluice::bench {

// A spinning barrier: no thread sleeps, so that what is measured between two of them is work.
class SpinBarrier {
 public:
  explicit SpinBarrier(int threads) : threads_(threads) {}

  void wait() {
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    while (round_.load(std::memory_order_acquire) == round) {
    }
  }

 private:
  const int threads_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

// Processors that this process may run on.
std::vector<int> usable_processors();

// Runs work(member) on `threads` pinned threads; returns seconds from the first begin to the last
// end. `threads` is at most usable_processors().size().
double run_pinned(int threads, FunctionRef<void(int)> work);

}  // namespace sluice::bench
