// BlockPool: the KV cache's blocks, by number. Knows which are held and how often, which are free,
// and which free or held ones carry a prefix that can be found by its hash.
//
// Always holds: a block is held (references > 0) or in the free list, never both; the free list
// starts with blocks that carry nothing and goes on with cached ones, the least recently released
// first, so that allocate() evicts the prefix that went unused longest. No two blocks carry one
// hash. Owned by the KvCache, used on the engine thread only. All operations are O(1).
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/prefix_hash.h"

namespace sluice::engine {

class BlockPool {
 public:
  explicit BlockPool(int32_t blocks);

  int32_t size() const { return static_cast<int32_t>(blocks_.size()); }
  int32_t free_count() const { return free_count_; }
  int32_t held_count() const { return size() - free_count_; }
  // Free blocks that carry a prefix.
  int32_t cached_count() const { return cached_count_; }
  int references(int32_t block) const { return blocks_[size_t(block)].references; }

  // A free block, held once; it loses the prefix it carried. free_count() must not be 0.
  int32_t allocate();
  // One more holder; a free block with a prefix comes back into use.
  void retain(int32_t block);
  // One holder less; the last one's block becomes free and keeps its prefix.
  void release(int32_t block);

  // The block that carries this prefix.
  std::optional<int32_t> find(const PrefixHash& hash) const;
  // From now on the held, full `block` carries the prefix. No effect when another one does already.
  void publish(int32_t block, const PrefixHash& hash);

  // From now on what publish() and allocate() change is kept for take_changes(). What it adds up to
  // is what find() finds.
  void keep_changes() { keeps_changes_ = true; }
  std::vector<PrefixChange> take_changes() { return std::exchange(changes_, {}); }

  // Aborts unless what is said above holds. O(blocks).
  void check_integrity() const;

 private:
  struct Block {
    int32_t previous = -1;  // in the free list
    int32_t next = -1;
    int references = 0;
    bool has_hash = false;
    PrefixHash hash;
  };

  void push_front(int32_t block);
  void push_back(int32_t block);
  void unlink(int32_t block);
  void note(const PrefixHash& hash, bool stored) {
    if (keeps_changes_) changes_.push_back({prefix_tag(hash), stored});
  }

  std::vector<Block> blocks_;
  int32_t first_free_ = -1;
  int32_t last_free_ = -1;
  int32_t free_count_ = 0;
  int32_t cached_count_ = 0;
  std::unordered_map<PrefixHash, int32_t> by_hash_;
  bool keeps_changes_ = false;
  std::vector<PrefixChange> changes_;
};

}  // namespace sluice::engine
