// A fixed team of compute threads that share the chunks of a loop.
//
// Workers spin briefly between loops and then park, so that an idle server uses no CPU and a busy
// neighbour is not starved. Nobody waits for a worker that did not come: the caller works through
// the chunks itself, and waits only for chunks that a worker has begun. Several engines may share a
// team: their loops run one after the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "base/function_ref.h"

namespace sluice {

class ThreadTeam {
 public:
  // `threads` counts the caller: a team of 1 starts none.
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(member) once for each member 0 … size()-1 and returns when all have returned. Which
  // thread a member runs on is open; one thread may run several. fn must not throw and must not
  // use the team.
  void run(FunctionRef<void(int)> fn);

  // Splits [0, count) into chunks that threads take as they get free: fn(begin, end). The split
  // depends on `chunk` only, so what a chunk computes never depends on the team's size. fn must not
  // throw and must not use the team.
  void parallel_for(int64_t count, int64_t chunk, FunctionRef<void(int64_t, int64_t)> fn);

 private:
  struct Loop;

  void work();
  bool enter();
  void leave();
  void close();

  std::mutex caller_mutex_;
  Loop* loop_ = nullptr;  // of the present caller; read between enter() and leave() only
  // Whether loop_ may be entered, and how many workers are inside.
  alignas(64) std::atomic<uint32_t> gate_{0};
  // Counts loops: what idle workers watch.
  alignas(64) std::atomic<uint32_t> generation_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::jthread> workers_;
};

}  // namespace sluice
