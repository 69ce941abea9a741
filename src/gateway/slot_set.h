// SlotSet: a set of replicas of one upstream by their small numbers ("slots"; from 128 on two share
// a bit), and the checkpoints of a chain of blocks at which such sets are kept.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::gateway {

struct SlotSet {
  static constexpr size_t kBits = 128;
  std::array<uint64_t, 2> bits{};

  void add(size_t slot) { bits[slot % kBits / 64] |= uint64_t{1} << (slot % 64); }
  void remove(size_t slot) { bits[slot % kBits / 64] &= ~(uint64_t{1} << (slot % 64)); }
  bool has(size_t slot) const { return (bits[slot % kBits / 64] >> (slot % 64) & 1) != 0; }
  bool empty() const { return (bits[0] | bits[1]) == 0; }
  SlotSet operator&(const SlotSet& o) const { return {{bits[0] & o.bits[0], bits[1] & o.bits[1]}}; }
  SlotSet operator|(const SlotSet& o) const { return {{bits[0] | o.bits[0], bits[1] | o.bits[1]}}; }
};

// Which replicas know a prompt's beginning.
struct PrefixMatch {
  SlotSet slots;      // of those asked for, the ones that know the longest
  size_t blocks = 0;  // its length; 0: none knows any
};

// The checkpoint behind block `i` (from 0) of a chain of `blocks`, or `blocks` when none is left:
// the first sixteen, then every eighth, and the last.
constexpr size_t next_checkpoint(size_t i, size_t blocks) {
  constexpr size_t kDense = 16;
  constexpr size_t kStride = 8;
  if (i + 1 >= blocks) return blocks;
  if (i + 1 < kDense) return i + 1;
  const size_t next = (i + 1 + kStride) / kStride * kStride - 1;
  return next < blocks ? next : blocks - 1;
}

}  // namespace sluice::gateway
