// PieceTrie: all pieces that begin at a place of a text. Filled once, then only read, by any
// thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "text/flat_table.h"

namespace sluice::text {

class PieceTrie {
 public:
  PieceTrie() : PieceTrie(std::vector<std::pair<std::string_view, int32_t>>()) {}

  // Empty keys are left out; of equal keys the lowest id counts.
  explicit PieceTrie(std::vector<std::pair<std::string_view, int32_t>> entries) {
    std::ranges::sort(entries);
    size_t nodes = 1;
    std::string_view previous;
    for (const auto& [key, id] : entries) {
      nodes += key.size() - common_prefix(previous, key);
      previous = key;
    }
    edges_ = MergeTable(nodes);
    values_.reserve(nodes);
    values_.assign(1, -1);
    for (const auto& [key, id] : entries) add(key, id);
  }

  bool empty() const { return values_.size() == 1; }

  // Calls visit(length, id) for each piece that `text` begins with, shortest first.
  template <typename Visit>
  void prefixes(std::string_view text, Visit visit) const {
    int32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = edges_.find(node, static_cast<unsigned char>(text[i])).id;
      if (node < 0) return;
      if (values_[static_cast<size_t>(node)] >= 0) visit(i + 1, values_[static_cast<size_t>(node)]);
    }
  }

  // Whether some piece begins with this byte.
  bool starts_with(char byte) const {
    return edges_.find(0, static_cast<unsigned char>(byte)).id >= 0;
  }

 private:
  static size_t common_prefix(std::string_view a, std::string_view b) {
    size_t n = 0;
    while (n < a.size() && n < b.size() && a[n] == b[n]) ++n;
    return n;
  }

  void add(std::string_view key, int32_t id) {
    int32_t node = 0;
    for (const char byte : key) {
      const int32_t label = static_cast<unsigned char>(byte);
      int32_t next = edges_.find(node, label).id;
      if (next < 0) {
        next = static_cast<int32_t>(values_.size());
        edges_.insert(node, label, {0, next});
        values_.push_back(-1);
      }
      node = next;
    }
    if (node > 0 && values_[static_cast<size_t>(node)] < 0) values_[static_cast<size_t>(node)] = id;
  }

  MergeTable edges_;
  std::vector<int32_t> values_;  // by node: the piece that ends there, or -1
};

}  // namespace sluice::text
