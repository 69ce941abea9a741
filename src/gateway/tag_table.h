// TagTable: values by 64-bit names in a fixed amount of memory: buckets of eight entries, of which
// the least recently used gives way. One owner.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sluice::gateway {

template <typename Value>
class TagTable {
 public:
  static constexpr size_t kWays = 8;

  struct Entry {
    uint64_t tag = 0;  // 0: empty
    uint64_t used = 0;
    Value value{};
  };

  explicit TagTable(size_t entries)
      : entries_(std::bit_ceil(std::max(entries, kWays))), mask_(entries_.size() / kWays - 1) {}

  Entry* find(uint64_t tag) {
    const uint64_t name = named(tag);
    for (Entry& entry : bucket(name)) {
      if (entry.tag == name) return &entry;
    }
    return nullptr;
  }
  // The entry of that name, or an empty one in place of the least recently used.
  Entry& take(uint64_t tag) {
    if (Entry* known = find(tag)) return *known;
    Entry& entry = *std::ranges::min_element(bucket(named(tag)), {}, &Entry::used);
    entry = {.tag = named(tag)};
    return entry;
  }

  std::span<Entry> all() { return entries_; }
  size_t capacity() const { return entries_.size(); }

 private:
  static uint64_t named(uint64_t tag) { return tag == 0 ? 1 : tag; }
  std::span<Entry> bucket(uint64_t tag) { return {entries_.data() + (tag & mask_) * kWays, kWays}; }

  std::vector<Entry> entries_;
  size_t mask_;
};

}  // namespace sluice::gateway
