#include "net/server_context.h"

#include "net/connection.h"

namespace sluice::net {

void ServerContext::count_rejection(std::string_view reason) {
  const std::lock_guard lock(mutex_);
  ++rejections_[reason];
}

std::map<std::string_view, uint64_t> ServerContext::rejections() const {
  const std::lock_guard lock(mutex_);
  return rejections_;
}

void ServerContext::end_busy() {
  if (--busy_ > 0 || !draining) return;
  const std::lock_guard lock(mutex_);
  idle_.notify_all();
}

bool ServerContext::wait_idle(Duration patience) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, patience, [this] { return busy_ == 0; });
}

bool ServerLoop::close_longest_idle() {
  Connection* longest = nullptr;
  for (const auto& [connection, owner] : connections) {
    if (!connection->idle()) continue;
    if (longest == nullptr || connection->idle_since() < longest->idle_since()) {
      longest = connection;
    }
  }
  if (longest == nullptr) return false;
  longest->close();
  return true;
}

}  // namespace sluice::net
