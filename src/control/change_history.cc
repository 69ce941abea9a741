#include "control/change_history.h"

#include <algorithm>

namespace sluice::control {

uint64_t ChangeHistory::remember(const Change& change) {
  entries_.push_back({.kind = change.kind,
                      .version = change.version,
                      .type = change.object->type,
                      .text = change.object->text,
                      .before = change.before ? change.before->text : nullptr,
                      .before_version = change.before ? change.before->version : 0});
  // What it was before is, as a rule, what an earlier one made it.
  bytes_ += change.object->text->size();
  uint64_t forgotten = 0;
  while (entries_.size() > max_changes_ || (bytes_ > max_bytes_ && entries_.size() > 1)) {
    forgotten = entries_.front().version;
    bytes_ -= entries_.front().text->size();
    entries_.pop_front();
  }
  return forgotten;
}

bool ChangeHistory::replay(const ResourceType* type, uint64_t from, const Watcher& watcher) const {
  const auto first = std::ranges::upper_bound(entries_, from, {}, &Entry::version);
  for (auto each = first; each != entries_.end(); ++each) {
    if (type != nullptr && each->type != type) continue;
    const Change change{.kind = each->kind,
                        .version = each->version,
                        .object = read_object(*each->type, each->text, each->version),
                        .before = each->before
                                      ? read_object(*each->type, each->before, each->before_version)
                                      : nullptr};
    if (change.object && !watcher(change)) return false;
  }
  return true;
}

}  // namespace sluice::control
