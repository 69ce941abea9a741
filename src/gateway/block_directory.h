// BlockDirectory: which replicas of an upstream hold which blocks of prompts in their prefix
// caches, as they tell it themselves (api/block_events.h).
//
// What was sent to a replica counts as held there too while the request is under way ("promised"):
// its prompt is about to be. A table of fixed size: when more blocks are held than it has entries,
// the least recently used are not known of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "gateway/slot_set.h"
#include "gateway/tag_table.h"

namespace sluice::gateway {

// Any thread.
class BlockDirectory : public std::enable_shared_from_this<BlockDirectory> {
 public:
  explicit BlockDirectory(size_t blocks) : table_(blocks) {}

  void change(std::span<const uint64_t> tags, size_t slot, bool stored);
  // The replica is gone, or is no longer listened to.
  void forget(size_t slot);

  // Of a prompt's blocks in their order.
  PrefixMatch find(std::span<const uint64_t> chain, const SlotSet& among);
  // The slot is sent the prompt; withdrawn when what is returned is destroyed.
  std::shared_ptr<const void> promise(std::span<const uint64_t> chain, size_t slot);

  size_t capacity() const { return table_.capacity(); }
  // Blocks known of now. O(capacity).
  size_t known();

 private:
  class Promise;
  struct Holders {
    SlotSet stored;
    SlotSet promised;
    bool empty() const { return stored.empty() && promised.empty(); }
  };

  void withdraw(std::span<const uint64_t> tags, size_t slot);
  SlotSet holders(uint64_t tag);

  std::mutex mutex_;
  TagTable<Holders> table_;
  uint64_t tick_ = 0;
};

}  // namespace sluice::gateway
