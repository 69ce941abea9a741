// PrefixIndex: which replicas saw a prompt's beginning lately, by the hash chain of its blocks.
//
// A table of fixed size: buckets of eight entries, the least recently used one gives way. Each
// entry holds a set of replicas by their small numbers ("slots"; from 128 on two share a bit). Of
// a chain only checkpoints are kept (the first sixteen blocks, then every eighth, and the last),
// so that a prompt of 8,192 tokens costs eighty look-ups. What it says is a guess: a replica may
// have evicted the blocks. Entries count from the moment of choice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "base/prefix_hash.h"

namespace sluice::gateway {

// A set of slots.
struct SlotSet {
  static constexpr size_t kBits = 128;
  std::array<uint64_t, 2> bits{};

  void add(size_t slot) { bits[slot % kBits / 64] |= uint64_t{1} << (slot % 64); }
  bool has(size_t slot) const { return (bits[slot % kBits / 64] >> (slot % 64) & 1) != 0; }
  bool empty() const { return (bits[0] | bits[1]) == 0; }
  SlotSet operator&(const SlotSet& o) const { return {{bits[0] & o.bits[0], bits[1] & o.bits[1]}}; }
};

// Any thread.
class PrefixIndex {
 public:
  explicit PrefixIndex(size_t blocks);

  struct Match {
    SlotSet slots;      // those of `among` that saw the longest beginning
    size_t blocks = 0;  // its length; 0: none did
  };
  Match find(std::span<const PrefixHash> chain, const SlotSet& among);
  void insert(std::span<const PrefixHash> chain, size_t slot);
  // The replica is gone, or has begun anew.
  void forget(size_t slot);

  size_t capacity() const { return entries_.size(); }

 private:
  struct Entry {
    uint64_t tag = 0;  // 0: empty
    uint64_t used = 0;
    SlotSet slots;
  };
  static constexpr size_t kWays = 8;

  std::span<Entry> bucket(uint64_t tag);
  Entry* look_up(uint64_t tag);

  std::mutex mutex_;
  std::vector<Entry> entries_;
  size_t mask_;
  uint64_t tick_ = 0;
};

// The checkpoint behind block `i` (from 0) of a chain of `blocks`, or `blocks` when none is left.
constexpr size_t next_checkpoint(size_t i, size_t blocks) {
  constexpr size_t kDense = 16;
  constexpr size_t kStride = 8;
  if (i + 1 >= blocks) return blocks;
  if (i + 1 < kDense) return i + 1;
  const size_t next = (i + 1 + kStride) / kStride * kStride - 1;
  return next < blocks ? next : blocks - 1;
}

}  // namespace sluice::gateway
