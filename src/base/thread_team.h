// A fixed team of compute threads that run one function together.
//
// Workers spin briefly between calls and then park, so that an idle server uses no CPU and a busy
// neighbour is not starved. Several engines may share a team: run() calls are serialized.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice {

class ThreadTeam {
 public:
  // `threads` counts the caller of run(): a team of 1 starts none.
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(member) once for each member 0 … size()-1, member 0 on the calling thread; returns
  // when all have. fn must not throw and must not call run() again.
  void run(const std::function<void(int)>& fn);

  // Splits [0, count) into chunks that members take as they get free: fn(begin, end). The split
  // depends on `chunk` only, so what a chunk computes never depends on the team's size.
  void parallel_for(int64_t count, int64_t chunk, const std::function<void(int64_t, int64_t)>& fn);

 private:
  void work(int member);

  std::mutex run_mutex_;
  const std::function<void(int)>* job_ = nullptr;
  std::atomic<uint32_t> generation_{0};
  std::atomic<uint32_t> unfinished_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::jthread> workers_;
};

}  // namespace sluice
