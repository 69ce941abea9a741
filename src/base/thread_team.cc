#include "base/thread_team.h"

#include <algorithm>

#include "base/check.h"

namespace sluice {
namespace {

// About 20 µs: longer than the gap between two ops of a step, shorter than a scheduler's time
// slice.
constexpr int kSpins = 4000;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` differs from `seen`: spins first, then parks.
void wait_for_change(const std::atomic<uint32_t>& value, uint32_t seen) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != seen) return;
    pause_briefly();
  }
  value.wait(seen, std::memory_order_acquire);
}

}  // namespace

ThreadTeam::ThreadTeam(int threads) {
  SLUICE_CHECK(threads >= 1, "a team has at least the calling thread");
  workers_.reserve(static_cast<size_t>(threads) - 1);
  for (int member = 1; member < threads; ++member) {
    workers_.emplace_back([this, member] { work(member); });
  }
}

ThreadTeam::~ThreadTeam() {
  stopping_.store(true);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
}

void ThreadTeam::work(int member) {
  uint32_t seen = 0;
  while (true) {
    wait_for_change(generation_, seen);
    if (stopping_.load()) return;
    ++seen;
    (*job_)(member);
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
  }
}

void ThreadTeam::run(const std::function<void(int)>& fn) {
  if (workers_.empty()) {
    fn(0);
    return;
  }
  const std::lock_guard lock(run_mutex_);
  job_ = &fn;
  unfinished_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  fn(0);
  while (true) {
    const uint32_t left = unfinished_.load(std::memory_order_acquire);
    if (left == 0) break;
    wait_for_change(unfinished_, left);
  }
  job_ = nullptr;
}

void ThreadTeam::parallel_for(int64_t count, int64_t chunk,
                              const std::function<void(int64_t, int64_t)>& fn) {
  if (count <= 0) return;
  if (workers_.empty() || count <= chunk) {
    for (int64_t begin = 0; begin < count; begin += chunk) {
      fn(begin, std::min(begin + chunk, count));
    }
    return;
  }
  std::atomic<int64_t> next{0};
  run([&](int) {
    while (true) {
      const int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= count) return;
      fn(begin, std::min(begin + chunk, count));
    }
  });
}

}  // namespace sluice
