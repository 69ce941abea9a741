// ChangeHistory: the last changes, from which a watch resumes.
//
// They are kept as JSON, which successive changes of one object share with it and each other: a
// tree is made again where somebody wants to see an old change. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "control/stored_object.h"

namespace sluice::control {

class ChangeHistory {
 public:
  // The oldest go when there are more, or their JSON is larger together; the newest stays.
  ChangeHistory(size_t changes, size_t bytes) : max_changes_(changes), max_bytes_(bytes) {}

  // Gives the version of the newest change that was forgotten for it; 0: none was.
  uint64_t remember(const Change& change);

  // Calls the watcher for every change after `from`, of that type unless it is null, in their
  // order; false as soon as it wants no more.
  bool replay(const ResourceType* type, uint64_t from, const Watcher& watcher) const;

  size_t size() const { return entries_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  using Text = std::shared_ptr<const std::string>;
  struct Entry {
    ChangeKind kind;
    uint64_t version;
    const ResourceType* type;
    Text text;
    Text before;              // null for kAdded
    uint64_t before_version;  // likewise 0
  };

  const size_t max_changes_;
  const size_t max_bytes_;
  std::deque<Entry> entries_;
  size_t bytes_ = 0;
};

}  // namespace sluice::control
