#include "gateway/block_directory.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace sluice::gateway {

class BlockDirectory::Promise {
 public:
  Promise(std::shared_ptr<BlockDirectory> directory, std::vector<uint64_t> tags, size_t slot)
      : directory_(std::move(directory)), tags_(std::move(tags)), slot_(slot) {}
  ~Promise() { directory_->withdraw(tags_, slot_); }
  Promise(const Promise&) = delete;
  Promise& operator=(const Promise&) = delete;

 private:
  const std::shared_ptr<BlockDirectory> directory_;
  const std::vector<uint64_t> tags_;
  const size_t slot_;
};

void BlockDirectory::change(std::span<const uint64_t> tags, size_t slot, bool stored) {
  const std::lock_guard lock(mutex_);
  const uint64_t now = ++tick_;
  for (const uint64_t tag : tags) {
    if (stored) {
      auto& entry = table_.take(tag);
      entry.used = now;
      entry.value.stored.add(slot);
    } else if (auto* entry = table_.find(tag)) {
      entry->value.stored.remove(slot);
      if (entry->value.empty()) *entry = {};
    }
  }
}

void BlockDirectory::forget(size_t slot) {
  const std::lock_guard lock(mutex_);
  for (auto& entry : table_.all()) {
    entry.value.stored.remove(slot);
    if (entry.value.empty()) entry = {};
  }
}

// Who holds the block; it counts as used.
SlotSet BlockDirectory::holders(uint64_t tag) {
  auto* entry = table_.find(tag);
  if (entry == nullptr) return {};
  entry->used = ++tick_;
  return entry->value.stored | entry->value.promised;
}

PrefixMatch BlockDirectory::find(std::span<const uint64_t> chain, const SlotSet& among) {
  PrefixMatch best;
  size_t at = 0;
  const std::lock_guard lock(mutex_);
  // By checkpoints, then block by block from the last one that somebody holds.
  for (bool fine = false; at < chain.size();) {
    const SlotSet left = (best.blocks == 0 ? among : best.slots) & holders(chain[at]);
    if (!left.empty()) {
      best = {left, at + 1};
      at = fine ? at + 1 : next_checkpoint(at, chain.size());
    } else if (!fine && best.blocks < at) {
      fine = true;
      at = best.blocks;
    } else {
      break;
    }
  }
  return best;
}

std::shared_ptr<const void> BlockDirectory::promise(std::span<const uint64_t> chain, size_t slot) {
  std::vector<uint64_t> tags;
  for (size_t i = 0; i < chain.size(); i = next_checkpoint(i, chain.size())) {
    tags.push_back(chain[i]);
  }
  {
    const std::lock_guard lock(mutex_);
    const uint64_t now = ++tick_;
    for (const uint64_t tag : tags) {
      auto& entry = table_.take(tag);
      entry.used = now;
      entry.value.promised.add(slot);
    }
  }
  return std::make_shared<const Promise>(shared_from_this(), std::move(tags), slot);
}

// Another request's promise of the same blocks goes too: by now they are held, or never will be.
void BlockDirectory::withdraw(std::span<const uint64_t> tags, size_t slot) {
  const std::lock_guard lock(mutex_);
  for (const uint64_t tag : tags) {
    auto* entry = table_.find(tag);
    if (entry == nullptr) continue;
    entry->value.promised.remove(slot);
    if (entry->value.empty()) *entry = {};
  }
}

size_t BlockDirectory::known() {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(std::ranges::count_if(
      table_.all(), [](const auto& entry) { return !entry.value.stored.empty(); }));
}

}  // namespace sluice::gateway
