// KvCache: which blocks a sequence has. Binds sequences to the block pool: prefix lookup, growth,
// release, and the blocks that are being computed right now.
//
// Only full blocks are shared and a full block is never written again, so nothing is ever copied.
// The K and V themselves live in the model; this room deals in block numbers. Owned by the
// scheduler, used on the engine thread only.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/prefix_hash.h"
#include "engine/block_pool.h"
#include "engine/sequence.h"

namespace sluice::engine {

enum class PrefixCaching { kOff, kOn };

class KvCache {
 public:
  KvCache(int32_t blocks, int block_size, PrefixCaching caching);

  const BlockPool& pool() const { return pool_; }
  int block_size() const { return block_size_; }
  // Blocks that `tokens` positions take.
  int blocks_for(int tokens) const { return (tokens + block_size_ - 1) / block_size_; }

  // Whether the prefix cache may answer for this sequence: prompt logprobs need every row run.
  bool reads_prefix(const Sequence& sequence) const {
    return caching_ == PrefixCaching::kOn && !sequence.owes_prompt_logprobs();
  }

  // Whether the first block that `sequence` would have to compute is being computed right now by a
  // running sequence of the same or a more urgent priority; it is then better to wait for it. Sets
  // or clears sequence.held_until.
  bool should_wait(Sequence& sequence);

  // Gives a sequence without blocks those of its longest cached prefix and sets `computed`. At
  // least the last token stays to be computed, for its logits. Returns the number of tokens found.
  int adopt_prefix(Sequence& sequence);

  // Announces the blocks that the sequence, just admitted, is going to compute.
  void announce(Sequence& sequence);

  // Gives the sequence blocks for its first `tokens` positions; the pool must have enough.
  void grow(Sequence& sequence, int tokens);

  // Takes back the blocks behind those that the computed tokens fill.
  void shrink(Sequence& sequence);

  // Makes the blocks that are full by now findable; after the pass that filled them.
  void publish(Sequence& sequence);

  // Takes back all blocks; `computed` becomes 0. Published ones stay findable until evicted, the
  // end of a prefix going before its start.
  void release(Sequence& sequence);

  // BlockPool's.
  void keep_changes() { pool_.keep_changes(); }
  std::vector<PrefixChange> take_changes() { return pool_.take_changes(); }

  // Aborts unless the sequences given, all that hold blocks, account for every held block.
  void check_integrity(std::span<const Sequence* const> holders) const;

 private:
  void extend_hashes(Sequence& sequence) const;
  // Number of leading full blocks found, leaving at least one token to compute.
  int match(Sequence& sequence) const;
  void withdraw(Sequence& sequence, int block_index);

  const int block_size_;
  const PrefixCaching caching_;
  BlockPool pool_;
  std::unordered_map<PrefixHash, const Sequence*> in_flight_;
};

}  // namespace sluice::engine
