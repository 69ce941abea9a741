#include "engine/block_pool.h"

#include "base/check.h"

namespace sluice::engine {

BlockPool::BlockPool(int32_t blocks) : blocks_(size_t(blocks)) {
  for (int32_t block = 0; block < blocks; ++block) push_back(block);
}

int32_t BlockPool::allocate() {
  SLUICE_CHECK(first_free_ >= 0, "a block was asked of an exhausted pool");
  const int32_t block = first_free_;
  unlink(block);
  Block& b = blocks_[size_t(block)];
  if (b.has_hash) {
    by_hash_.erase(b.hash);
    b.has_hash = false;
    note(b.hash, false);
  }
  b.references = 1;
  return block;
}

void BlockPool::retain(int32_t block) {
  Block& b = blocks_[size_t(block)];
  if (b.references == 0) unlink(block);
  ++b.references;
}

void BlockPool::release(int32_t block) {
  Block& b = blocks_[size_t(block)];
  SLUICE_CHECK(b.references > 0, "a block was released more often than held");
  if (--b.references > 0) return;
  if (b.has_hash) {
    push_back(block);
  } else {
    push_front(block);
  }
}

std::optional<int32_t> BlockPool::find(const PrefixHash& hash) const {
  const auto at = by_hash_.find(hash);
  if (at == by_hash_.end()) return std::nullopt;
  return at->second;
}

void BlockPool::publish(int32_t block, const PrefixHash& hash) {
  Block& b = blocks_[size_t(block)];
  SLUICE_CHECK(b.references > 0, "a block that nobody holds was published");
  if (b.has_hash || !by_hash_.emplace(hash, block).second) return;
  b.has_hash = true;
  b.hash = hash;
  note(hash, true);
}

void BlockPool::push_front(int32_t block) {
  Block& b = blocks_[size_t(block)];
  b.previous = -1;
  b.next = first_free_;
  (first_free_ >= 0 ? blocks_[size_t(first_free_)].previous : last_free_) = block;
  first_free_ = block;
  ++free_count_;
  cached_count_ += b.has_hash ? 1 : 0;
}

void BlockPool::push_back(int32_t block) {
  Block& b = blocks_[size_t(block)];
  b.previous = last_free_;
  b.next = -1;
  (last_free_ >= 0 ? blocks_[size_t(last_free_)].next : first_free_) = block;
  last_free_ = block;
  ++free_count_;
  cached_count_ += b.has_hash ? 1 : 0;
}

void BlockPool::unlink(int32_t block) {
  Block& b = blocks_[size_t(block)];
  (b.previous >= 0 ? blocks_[size_t(b.previous)].next : first_free_) = b.next;
  (b.next >= 0 ? blocks_[size_t(b.next)].previous : last_free_) = b.previous;
  b.previous = b.next = -1;
  --free_count_;
  cached_count_ -= b.has_hash ? 1 : 0;
}

void BlockPool::check_integrity() const {
  int32_t free = 0;
  int32_t cached = 0;
  int32_t previous = -1;
  for (int32_t block = first_free_; block >= 0; block = blocks_[size_t(block)].next) {
    const Block& b = blocks_[size_t(block)];
    SLUICE_CHECK(b.references == 0, "a held block is in the free list");
    SLUICE_CHECK(b.previous == previous, "the free list's links disagree");
    SLUICE_CHECK(b.has_hash || cached == 0, "an empty block stands behind a cached one");
    SLUICE_CHECK(free < size(), "the free list has a cycle");
    ++free;
    cached += b.has_hash ? 1 : 0;
    previous = block;
  }
  SLUICE_CHECK(previous == last_free_, "the free list does not end at its last block");
  SLUICE_CHECK(free == free_count_ && cached == cached_count_, "the free list is miscounted");
  size_t hashed = 0;
  int32_t held = 0;
  for (int32_t block = 0; block < size(); ++block) {
    const Block& b = blocks_[size_t(block)];
    SLUICE_CHECK(b.references >= 0, "a block has a negative number of holders");
    held += b.references > 0 ? 1 : 0;
    if (!b.has_hash) continue;
    ++hashed;
    SLUICE_CHECK(find(b.hash) == block, "a cached block is not found by its hash");
  }
  SLUICE_CHECK(held + free == size(), "a block is neither held nor free");
  SLUICE_CHECK(hashed == by_hash_.size(), "a hash leads to a block that does not carry it");
}

}  // namespace sluice::engine
