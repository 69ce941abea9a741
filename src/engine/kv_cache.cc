#include "engine/kv_cache.h"

#include <ranges>
#include <vector>

#include "base/check.h"

namespace sluice::engine {

KvCache::KvCache(int32_t blocks, int block_size, PrefixCaching caching)
    : block_size_(block_size), caching_(caching), pool_(blocks) {}

void KvCache::extend_hashes(Sequence& sequence) const {
  const int full = sequence.size() / block_size_;
  for (int i = static_cast<int>(sequence.hashes.size()); i < full; ++i) {
    const PrefixHash& parent = i == 0 ? sequence.salt : sequence.hashes[size_t(i) - 1];
    sequence.hashes.push_back(extend_prefix(
        parent,
        std::span(sequence.tokens).subspan(size_t(i) * size_t(block_size_), size_t(block_size_))));
  }
}

int KvCache::match(Sequence& sequence) const {
  extend_hashes(sequence);
  const int limit = (sequence.size() - 1) / block_size_;
  int found = 0;
  while (found < limit && pool_.find(sequence.hashes[size_t(found)])) ++found;
  return found;
}

bool KvCache::should_wait(Sequence& sequence) {
  if (!reads_prefix(sequence)) return false;
  const auto computed_for = [&](const PrefixHash& hash) {
    const auto at = in_flight_.find(hash);
    return at != in_flight_.end() && at->second->priority <= sequence.priority && !pool_.find(hash);
  };
  // The usual answer to a sequence that waits already, without another walk along its prefix.
  if (sequence.held_until && computed_for(*sequence.held_until)) return true;
  sequence.held_until.reset();
  const int found = match(sequence);
  if (found >= (sequence.size() - 1) / block_size_) return false;
  if (!computed_for(sequence.hashes[size_t(found)])) return false;
  sequence.held_until = sequence.hashes[size_t(found)];
  return true;
}

int KvCache::adopt_prefix(Sequence& sequence) {
  SLUICE_CHECK(sequence.blocks.empty(), "a sequence with blocks asked for its prefix");
  if (!reads_prefix(sequence)) return 0;
  const int found = match(sequence);
  for (int i = 0; i < found; ++i) {
    const int32_t block = *pool_.find(sequence.hashes[size_t(i)]);
    pool_.retain(block);
    sequence.blocks.push_back(block);
  }
  sequence.published = found;
  sequence.computed = found * block_size_;
  return sequence.computed;
}

void KvCache::announce(Sequence& sequence) {
  if (caching_ == PrefixCaching::kOff) return;
  extend_hashes(sequence);
  for (size_t i = size_t(sequence.published); i < sequence.hashes.size(); ++i) {
    const auto [at, added] = in_flight_.try_emplace(sequence.hashes[i], &sequence);
    // A more urgent producer is the one worth waiting for.
    if (!added && sequence.priority < at->second->priority) at->second = &sequence;
  }
}

void KvCache::withdraw(Sequence& sequence, int block_index) {
  const auto at = in_flight_.find(sequence.hashes[size_t(block_index)]);
  if (at != in_flight_.end() && at->second == &sequence) in_flight_.erase(at);
}

void KvCache::grow(Sequence& sequence, int tokens) {
  const auto wanted = static_cast<size_t>(blocks_for(tokens));
  while (sequence.blocks.size() < wanted) sequence.blocks.push_back(pool_.allocate());
}

void KvCache::shrink(Sequence& sequence) {
  const auto wanted = static_cast<size_t>(blocks_for(sequence.computed));
  while (sequence.blocks.size() > wanted) {
    pool_.release(sequence.blocks.back());
    sequence.blocks.pop_back();
  }
}

void KvCache::publish(Sequence& sequence) {
  if (caching_ == PrefixCaching::kOff) return;
  const int full = sequence.computed / block_size_;
  if (sequence.published >= full) return;
  extend_hashes(sequence);
  for (; sequence.published < full; ++sequence.published) {
    const auto i = static_cast<size_t>(sequence.published);
    pool_.publish(sequence.blocks[i], sequence.hashes[i]);
    withdraw(sequence, sequence.published);
  }
}

void KvCache::release(Sequence& sequence) {
  for (int i = sequence.published; i < static_cast<int>(sequence.hashes.size()); ++i) {
    withdraw(sequence, i);
  }
  for (const int32_t block : sequence.blocks | std::views::reverse) pool_.release(block);
  sequence.blocks.clear();
  sequence.published = 0;
  sequence.computed = 0;
}

void KvCache::check_integrity(std::span<const Sequence* const> holders) const {
  pool_.check_integrity();
  std::vector<int> references(size_t(pool_.size()));
  for (const Sequence* sequence : holders) {
    SLUICE_CHECK(static_cast<int>(sequence->blocks.size()) == blocks_for(sequence->computed),
                 "a sequence holds more or fewer blocks than its tokens fill");
    for (const int32_t block : sequence->blocks) ++references[size_t(block)];
  }
  for (int32_t block = 0; block < pool_.size(); ++block) {
    SLUICE_CHECK(pool_.references(block) == references[size_t(block)],
                 "a block's holders are miscounted");
  }
  for (const auto& [hash, producer] : in_flight_) {
    bool found = false;
    for (const Sequence* sequence : holders) found = found || sequence == producer;
    SLUICE_CHECK(found, "a block is announced by a sequence that does not run");
  }
}

}  // namespace sluice::engine
