#include "gateway/prefix_index.h"

namespace sluice::gateway {

PrefixMatch PrefixIndex::find(std::span<const PrefixHash> chain, const SlotSet& among) {
  PrefixMatch best;
  SlotSet left = among;
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < chain.size(); i = next_checkpoint(i, chain.size())) {
    auto* entry = table_.find(prefix_tag(chain[i]));
    if (entry == nullptr) break;
    left = left & entry->value;
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
    auto& entry = table_.take(prefix_tag(chain[i]));
    entry.used = now;
    entry.value.add(slot);
  }
}

void PrefixIndex::forget(size_t slot) {
  const std::lock_guard lock(mutex_);
  for (auto& entry : table_.all()) {
    entry.value.remove(slot);
    if (entry.value.empty()) entry = {};
  }
}

}  // namespace sluice::gateway
