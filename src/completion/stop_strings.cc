#include "completion/stop_strings.h"

#include <algorithm>
#include <utility>

namespace sluice::completion {

StopStrings::StopStrings(std::vector<std::string> stops, bool include)
    : stops_(std::move(stops)), include_(include) {}

StopStrings::Piece StopStrings::push(std::string_view text) {
  if (stops_.empty()) return {std::string(text), std::nullopt};
  pending_ += text;
  size_t best_end = std::string::npos;
  size_t best_start = 0;
  size_t best_stop = 0;
  for (size_t i = 0; i < stops_.size(); ++i) {
    const size_t start = pending_.find(stops_[i]);
    if (start == std::string::npos) continue;
    const size_t end = start + stops_[i].size();
    if (end < best_end || (end == best_end && start < best_start)) {
      best_end = end;
      best_start = start;
      best_stop = i;
    }
  }
  if (best_end != std::string::npos) {
    std::string sent = pending_.substr(0, include_ ? best_end : best_start);
    pending_.clear();
    return {std::move(sent), best_stop};
  }
  const size_t keep = held_back();
  std::string sent = pending_.substr(0, pending_.size() - keep);
  pending_.erase(0, sent.size());
  return {std::move(sent), std::nullopt};
}

std::string StopStrings::finish() { return std::exchange(pending_, {}); }

// Length of the longest end of the pending text that begins a stop string.
size_t StopStrings::held_back() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, pending_.size()); n > longest; --n) {
      if (pending_.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

}  // namespace sluice::completion
