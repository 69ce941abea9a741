#include "base/thread_team.h"

#include <algorithm>

#include "base/check.h"

namespace sluice {
namespace {

// Some 50 µs: longer than the gap between two loops of a step, shorter than a scheduler's slice.
constexpr int kSpins = 4000;
// The gate: whether it is open, how many workers may be inside, how many are.
constexpr uint32_t kOpen = uint32_t{1} << 31;
constexpr int kMostShift = 16;
constexpr uint32_t kInside = (uint32_t{1} << kMostShift) - 1;
constexpr int kMostThreads = 1 << 15;

// A wait of this length, and as long as the caller's own share of the loop took, is no chunk's: a
// stall.
constexpr Duration kStall = std::chrono::microseconds(250);
// Stalls that take more of the time than this over the team's size cost more than a thread brings:
// without it the others would have lost one part in that size. What they take beyond it adds up.
constexpr double kBearableStalls = 0.8;
// So much of it empties a place. One turn that another takes is less, some in a row are more.
constexpr Duration kMostStalled = std::chrono::milliseconds(10);
// How long a place stays empty: doubled while it stalls again as soon as it is filled.
constexpr Duration kLeastEmpty = std::chrono::milliseconds(8);
constexpr Duration kMostEmpty = std::chrono::milliseconds(500);
constexpr Duration kSoon = std::chrono::milliseconds(50);

// Of an open gate.
bool is_full(uint32_t gate) { return (gate & kInside) >= (gate & ~kOpen) >> kMostShift; }

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

struct ThreadTeam::Loop {
  int64_t count;
  int64_t chunk;
  FunctionRef<void(int64_t, int64_t)> fn;
  alignas(64) std::atomic<int64_t> next{0};

  void take_chunks() {
    while (true) {
      const int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= count) return;
      fn(begin, std::min(begin + chunk, count));
    }
  }
};

ThreadTeam::ThreadTeam(int threads, const Clock& clock) : clock_(clock) {
  SLUICE_CHECK(threads >= 1 && threads <= kMostThreads, "a team has at least the calling thread");
  workers_.reserve(static_cast<size_t>(threads) - 1);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadTeam::~ThreadTeam() {
  stopping_.store(true);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
}

void ThreadTeam::work() {
  while (true) {
    const uint32_t seen = generation_.load(std::memory_order_acquire);
    if (stopping_.load()) return;
    if (enter()) {
      loop_->take_chunks();
      leave();
    } else if (const uint32_t gate = gate_.load(std::memory_order_relaxed);
               (gate & kOpen) != 0 && is_full(gate)) {
      // Its core is wanted by someone else: no spinning.
      generation_.wait(seen, std::memory_order_acquire);
      continue;
    }
    wait_for_change(generation_, seen);
  }
}

// Joins the loop of the moment, unless it has been closed or is full.
bool ThreadTeam::enter() {
  uint32_t gate = gate_.load(std::memory_order_relaxed);
  while ((gate & kOpen) != 0 && !is_full(gate)) {
    if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acquire,
                                    std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

void ThreadTeam::leave() {
  if (gate_.fetch_sub(1, std::memory_order_release) == 1) gate_.notify_one();
}

// Lets nobody in any more and waits for those inside.
void ThreadTeam::close() {
  uint32_t inside = gate_.fetch_and(kInside, std::memory_order_acquire) & kInside;
  while (inside != 0) {
    wait_for_change(gate_, inside);
    inside = gate_.load(std::memory_order_acquire);
  }
}

void ThreadTeam::on_stall(TimePoint began, TimePoint ended) {
  const double bearable = kBearableStalls / size();
  const auto passed = std::chrono::duration<double, Duration::period>(ended - stalls_counted_at_);
  const auto paid = Duration(static_cast<Duration::rep>(passed.count() * bearable));
  stalled_ = std::max(stalled_ - paid, Duration::zero()) + (ended - began);
  stalls_counted_at_ = ended;
  if (stalled_ > kMostStalled) empty_a_place(ended);
}

void ThreadTeam::empty_a_place(TimePoint now) {
  const bool was_just_filled = penalty_ > Duration::zero() && now - filled_at_ < kSoon;
  if (was_just_filled) {
    penalty_ = std::min(2 * penalty_, kMostEmpty);
  } else if (empty_places_ == 0) {
    penalty_ = kLeastEmpty;
  }
  empty_places_ = std::min(empty_places_ + 1, size() - 1);
  empty_until_ = now + penalty_;
  // Whoever stalls again when the place is filled, or beside the empty one, is found out sooner.
  stalled_ = kMostStalled / 2;
}

// How many workers a loop that starts now may have.
int ThreadTeam::places(TimePoint now) {
  if (empty_places_ > 0 && now >= empty_until_) {
    filled_at_ = empty_until_;
    stalls_counted_at_ = now;
    // One by one, the next sooner: if this one does not stall, what took the cores may have gone.
    if (--empty_places_ > 0) {
      penalty_ = std::max(penalty_ / 2, kLeastEmpty);
      empty_until_ = now + penalty_;
    }
  }
  return size() - 1 - empty_places_;
}

// Runs the loop with whichever workers come.
void ThreadTeam::share(Loop& loop) {
  const TimePoint start = clock_.now();
  const int most = places(start);
  if (most == 0) return loop.take_chunks();
  loop_ = &loop;
  gate_.store(kOpen | uint32_t(most) << kMostShift, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  loop.take_chunks();
  if ((gate_.load(std::memory_order_relaxed) & kInside) == 0) return close();
  const TimePoint done = clock_.now();
  close();
  const TimePoint end = clock_.now();
  if (end - done > std::max(kStall, done - start)) on_stall(done, end);
}

void ThreadTeam::run(FunctionRef<void(int)> fn) {
  parallel_for(size(), 1, [&](int64_t member, int64_t) { fn(static_cast<int>(member)); });
}

void ThreadTeam::parallel_for(int64_t count, int64_t chunk,
                              FunctionRef<void(int64_t, int64_t)> fn) {
  SLUICE_CHECK(chunk > 0, "a chunk holds something");
  if (count <= 0) return;
  Loop loop{.count = count, .chunk = chunk, .fn = fn};
  if (workers_.empty() || count <= chunk || in_use_.exchange(true, std::memory_order_acquire)) {
    return loop.take_chunks();
  }
  share(loop);
  in_use_.store(false, std::memory_order_release);
}

}  // namespace sluice
