#include "gateway/prefix_index.h"

#include <algorithm>
#include <bit>

namespace sluice::gateway {
namespace {

uint64_t tag_of(const PrefixHash& hash) {
  const uint64_t tag = hash.low ^ std::rotl(hash.high, 23);
  return tag == 0 ? 1 : tag;
}

}  // namespace

PrefixIndex::PrefixIndex(size_t blocks)
    : entries_(std::bit_ceil(std::max(blocks, kWays))), mask_(entries_.size() / kWays - 1) {}

std::span<PrefixIndex::Entry> PrefixIndex::bucket(uint64_t tag) {
  return {entries_.data() + (tag & mask_) * kWays, kWays};
}

PrefixIndex::Entry* PrefixIndex::look_up(uint64_t tag) {
  for (Entry& entry : bucket(tag)) {
    if (entry.tag == tag) return &entry;
  }
  return nullptr;
}

PrefixIndex::Match PrefixIndex::find(std::span<const PrefixHash> chain, const SlotSet& among) {
  Match best;
  SlotSet left = among;
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < chain.size(); i = next_checkpoint(i, chain.size())) {
    Entry* entry = look_up(tag_of(chain[i]));
    if (entry == nullptr) break;
    left = left & entry->slots;
    if (left.empty()) break;
    entry->used = ++tick_;
    best = {left, i + 1};
  }
  return best;
}

void PrefixIndex::insert(std::span<const PrefixHash> chain, size_t slot) {
  const std::lock_guard lock(mutex_);
  // All of a chain carry one time: its beginning must not look older than its end.
  const uint64_t now = ++tick_;
  for (size_t i = 0; i < chain.size(); i = next_checkpoint(i, chain.size())) {
    const uint64_t tag = tag_of(chain[i]);
    Entry* entry = look_up(tag);
    if (entry == nullptr) {
      entry = &*std::ranges::min_element(bucket(tag), {}, &Entry::used);
      *entry = {.tag = tag, .slots = {}};
    }
    entry->used = now;
    entry->slots.add(slot);
  }
}

void PrefixIndex::forget(size_t slot) {
  const std::lock_guard lock(mutex_);
  SlotSet gone;
  gone.add(slot);
  for (Entry& entry : entries_) {
    entry.slots.bits[0] &= ~gone.bits[0];
    entry.slots.bits[1] &= ~gone.bits[1];
    if (entry.slots.empty()) entry = {};
  }
}

}  // namespace sluice::gateway
