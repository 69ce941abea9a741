// The merge loop of byte-pair encoding: again and again the neighbours whose merge has the lowest
// rank, the leftmost of equals, become one symbol. Short words scan all pairs; long ones keep them
// in a heap, so that n symbols cost O(n log n).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "text/flat_table.h"

namespace sluice::text {

struct Symbol {
  uint32_t begin = 0;  // bytes of the word
  uint32_t length = 0;
  int32_t id = -1;  // -1: not in the vocabulary
};

namespace merging_detail {

inline constexpr size_t kScanned = 48;

template <typename Lookup>
void merge_scanning(std::vector<Symbol>& symbols, const Lookup& lookup) {
  MergeTable::Merge pairs[kScanned];
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = lookup(symbols[i], symbols[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].id < 0) break;
    symbols[best].length += symbols[best + 1].length;
    symbols[best].id = pairs[best].id;
    for (size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      pairs[i - 1] = pairs[i];
    }
    --count;
    if (best > 0) pairs[best - 1] = lookup(symbols[best - 1], symbols[best]);
    if (best + 1 < count) pairs[best] = lookup(symbols[best], symbols[best + 1]);
  }
  symbols.resize(count);
}

template <typename Lookup>
void merge_with_heap(std::vector<Symbol>& symbols, const Lookup& lookup) {
  struct Candidate {
    uint32_t rank;
    uint32_t left, right;  // symbols
    uint32_t bytes;        // of both when this was queued: otherwise it is outdated
    int32_t id;
  };
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  };
  constexpr uint32_t kNone = UINT32_MAX;
  const auto count = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> previous(count);
  std::vector<uint32_t> next(count);
  std::vector<Candidate> heap;
  heap.reserve(count);
  const auto candidate = [&](uint32_t left, uint32_t right) {
    if (left == kNone || right == kNone) return false;
    const MergeTable::Merge merge = lookup(symbols[left], symbols[right]);
    if (merge.id < 0) return false;
    heap.push_back(
        {merge.rank, left, right, symbols[left].length + symbols[right].length, merge.id});
    return true;
  };
  for (uint32_t i = 0; i < count; ++i) {
    previous[i] = i == 0 ? kNone : i - 1;
    next[i] = i + 1 == count ? kNone : i + 1;
    if (i > 0) candidate(i - 1, i);
  }
  std::ranges::make_heap(heap, later);
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, later);
    const Candidate top = heap.back();
    heap.pop_back();
    Symbol& left = symbols[top.left];
    Symbol& right = symbols[top.right];
    if (left.length == 0 || right.length == 0 || left.length + right.length != top.bytes) continue;
    left.length += right.length;
    left.id = top.id;
    right.length = 0;
    next[top.left] = next[top.right];
    if (next[top.left] != kNone) previous[next[top.left]] = top.left;
    if (candidate(previous[top.left], top.left)) std::ranges::push_heap(heap, later);
    if (candidate(top.left, next[top.left])) std::ranges::push_heap(heap, later);
  }
  std::erase_if(symbols, [](const Symbol& s) { return s.length == 0; });
}

}  // namespace merging_detail

// `lookup(left, right)` gives the merge of two neighbours, id -1 if there is none.
template <typename Lookup>
void merge_symbols(std::vector<Symbol>& symbols, const Lookup& lookup) {
  if (symbols.size() <= merging_detail::kScanned) {
    merging_detail::merge_scanning(symbols, lookup);
  } else {
    merging_detail::merge_with_heap(symbols, lookup);
  }
}

}  // namespace sluice::text
