// Two hash tables with open addressing that are filled once and then only read: pieces by their
// bytes, and merges by their pair of ids. Callable from any thread once filled.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace sluice::text {

inline uint64_t mix_bits(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9E3779B97F4A7C15u;
  return x ^ (x >> 29);
}

inline uint64_t hash_bytes(std::string_view bytes) {
  uint64_t h = bytes.size() * 0xD6E8FEB86659FD93u;
  const char* p = bytes.data();
  size_t n = bytes.size();
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word = 0;
    std::memcpy(&word, p, 8);
    h = mix_bits(h ^ word);
  }
  uint64_t tail = 0;
  if (n > 0) std::memcpy(&tail, p, n);
  return mix_bits(h ^ tail);
}

// Bytes → id. Views must outlive the table.
class PieceTable {
 public:
  explicit PieceTable(size_t expected = 0)
      : slots_(std::bit_ceil(expected * 2 + 2)), mask_(slots_.size() - 1) {}

  // False when `bytes` is there already: the first id stays. At most `expected` insertions.
  bool insert(std::string_view bytes, int32_t id) {
    const uint64_t hash = hash_bytes(bytes);
    for (size_t i = hash & mask_;; i = (i + 1) & mask_) {
      Slot& slot = slots_[i];
      if (slot.id < 0) {
        slot = {bytes.data(), static_cast<uint32_t>(bytes.size()), id};
        return true;
      }
      if (same(slot, bytes)) return false;
    }
  }

  int32_t find(std::string_view bytes) const {  // -1: none
    for (size_t i = hash_bytes(bytes) & mask_;; i = (i + 1) & mask_) {
      const Slot& slot = slots_[i];
      if (slot.id < 0) return -1;
      if (same(slot, bytes)) return slot.id;
    }
  }

 private:
  struct Slot {
    const char* data = nullptr;
    uint32_t size = 0;
    int32_t id = -1;
  };

  static bool same(const Slot& slot, std::string_view bytes) {
    return slot.size == bytes.size() &&
           (bytes.empty() || std::memcmp(slot.data, bytes.data(), bytes.size()) == 0);
  }

  std::vector<Slot> slots_;
  size_t mask_;
};

// (left id, right id) → (rank, merged id).
class MergeTable {
 public:
  struct Merge {
    uint32_t rank = UINT32_MAX;
    int32_t id = -1;
  };

  explicit MergeTable(size_t expected = 0)
      : slots_(std::bit_ceil(expected * 2 + 2)), mask_(slots_.size() - 1) {}

  // The first insertion of a pair stays. At most `expected` insertions.
  void insert(int32_t left, int32_t right, Merge merge) {
    const uint64_t key = make_key(left, right);
    for (size_t i = mix_bits(key) & mask_;; i = (i + 1) & mask_) {
      if (slots_[i].key == key) return;
      if (slots_[i].key == kNoKey) {
        slots_[i] = {key, merge};
        return;
      }
    }
  }

  Merge find(int32_t left, int32_t right) const {
    const uint64_t key = make_key(left, right);
    for (size_t i = mix_bits(key) & mask_;; i = (i + 1) & mask_) {
      if (slots_[i].key == key) return slots_[i].merge;
      if (slots_[i].key == kNoKey) return {};
    }
  }

 private:
  static constexpr uint64_t kNoKey = UINT64_MAX;
  struct Slot {
    uint64_t key = kNoKey;
    Merge merge;
  };
  static uint64_t make_key(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) |
           static_cast<uint32_t>(right);
  }

  std::vector<Slot> slots_;
  size_t mask_;
};

}  // namespace sluice::text
