// A fixed team of compute threads that share the chunks of a loop.
//
// Made for cores that others use too. Workers spin briefly between loops and then park. Nobody
// waits for a worker that did not come: the caller works through the chunks itself, and waits only
// for chunks that a worker has begun. Where such waits show that workers are taken off their cores
// in the middle of chunks for so much of the time that one thread less would be faster, a place of
// the team stays empty for a while, the longer the more often it happens: threads that lose their
// turns at different times hold up each other. A team of 2 is then its caller alone.
//
// Several callers may share a team. One that finds it in use works alone, so that it never waits
// and nobody starves; for each loop it is the first to come that has the team. What a loop computes
// never depends on any of this.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/function_ref.h"

namespace sluice {

class ThreadTeam {
 public:
  // `threads` counts the caller: a team of 1 starts none.
  explicit ThreadTeam(int threads, const Clock& clock = system_clock());
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(member) once for each member 0 … size()-1 and returns when all have returned. Which
  // thread a member runs on is open; one thread may run several. fn must not throw.
  void run(FunctionRef<void(int)> fn);

  // Splits [0, count) into chunks that threads take as they get free: fn(begin, end). The split
  // depends on `chunk` only, so what a chunk computes never depends on the team's size. fn must not
  // throw. Takes no lock and allocates nothing.
  void parallel_for(int64_t count, int64_t chunk, FunctionRef<void(int64_t, int64_t)> fn);

 private:
  struct Loop;

  void work();
  bool enter();
  void leave();
  void share(Loop& loop);
  void close();
  void on_stall(TimePoint began, TimePoint ended);
  void empty_a_place(TimePoint now);
  int places(TimePoint now);

  const Clock& clock_;
  // Set by the caller whose loop runs; guards what follows up to gate_.
  alignas(64) std::atomic<bool> in_use_{false};
  int empty_places_ = 0;     // workers that a loop goes without
  TimePoint filled_at_{};    // the last of them that came back
  TimePoint empty_until_{};  // then it is one less
  Duration penalty_{};       // of the last stall: how long a place stayed empty
  Duration stalled_{};       // what stalls took beyond what is bearable
  TimePoint stalls_counted_at_{};
  Loop* loop_ = nullptr;  // of the present caller; workers read it between enter() and leave()
  // Whether loop_ may be entered, by how many workers, and how many are inside.
  alignas(64) std::atomic<uint32_t> gate_{0};
  // Counts loops: what idle workers watch.
  alignas(64) std::atomic<uint32_t> generation_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::jthread> workers_;
};

}  // namespace sluice
