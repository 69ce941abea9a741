#include "base/worker_pool.h"

#include <fmt/format.h>

namespace sluice {

WorkerPool::WorkerPool(int threads, size_t queue_capacity) : queue_(queue_capacity) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] {
      while (auto task = queue_.pop()) (*task)();
    });
  }
}

WorkerPool::~WorkerPool() { queue_.close(); }

Outcome WorkerPool::submit(std::function<void()> task) {
  if (queue_.try_push(task)) return {};
  return fail(
      Code::kResourceExhausted,
      fmt::format("{} requests wait to be parsed already; try again later", queue_.capacity()), {},
      "queue_full_workers");
}

}  // namespace sluice
