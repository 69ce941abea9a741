// WorkerPool: a few threads for work that must not run on an IO loop or an engine thread (parsing,
// templates, tokenizing), behind a bounded queue.
#pragma once

#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"
#include "base/status.h"

namespace sluice {

// The destructor lets queued tasks finish, then joins.
class WorkerPool {
 public:
  WorkerPool(int threads, size_t queue_capacity);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Callable from any thread; never blocks. resource_exhausted when the queue is full.
  Outcome submit(std::function<void()> task);

 private:
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::jthread> threads_;
};

}  // namespace sluice
