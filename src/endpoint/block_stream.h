// BlockStream: one answer of POST /internal/v1/blocks: what the prefix caches of all models of a
// backend hold, as events (api/block_events.h).
//
// Changes come from the backend's threads, beats from another; all methods are callable from any
// thread and never block. A reader too slow for kMaxUnsentBytes is cut, and begins anew.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "api/block_events.h"
#include "completion/backend.h"
#include "net/server.h"

namespace sluice::endpoint {

class BlockStream : public std::enable_shared_from_this<BlockStream> {
 public:
  explicit BlockStream(std::shared_ptr<net::Responder> responder)
      : responder_(std::move(responder)) {}

  // Begins the answer and tells what is held now; or refuses. Once.
  void begin(completion::Backend& backend);
  void beat();
  void end();
  // Ended, or its reader is gone.
  bool over() const { return over_ || responder_->closed(); }

 private:
  class Watcher;

  void send(size_t model, std::span<const PrefixChange> changes);

  const std::shared_ptr<net::Responder> responder_;
  std::mutex mutex_;  // keeps the events' numbers in the order of their bytes
  api::BlockEventWriter writer_;
  std::string frames_;  // reused
  std::atomic<bool> begun_{false};
  std::atomic<bool> over_{false};
};

}  // namespace sluice::endpoint
