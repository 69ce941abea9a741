// PrefixIndex: which replicas were sent a prompt's beginning lately, by the hash chain of its
// blocks.
//
// Of a chain only checkpoints are kept, so that a prompt of 8,192 tokens costs eighty look-ups.
// What it says is a guess: a replica may have evicted the blocks. Entries count from the moment of
// choice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "base/prefix_hash.h"
#include "gateway/slot_set.h"
#include "gateway/tag_table.h"

namespace sluice::gateway {

// Any thread.
class PrefixIndex {
 public:
  explicit PrefixIndex(size_t blocks) : table_(blocks) {}

  PrefixMatch find(std::span<const PrefixHash> chain, const SlotSet& among);
  void insert(std::span<const PrefixHash> chain, size_t slot);
  // The replica is gone, or has begun anew.
  void forget(size_t slot);

  size_t capacity() const { return table_.capacity(); }

 private:
  std::mutex mutex_;
  TagTable<SlotSet> table_;
  uint64_t tick_ = 0;
};

}  // namespace sluice::gateway
