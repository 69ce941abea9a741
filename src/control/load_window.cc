#include "control/load_window.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sluice::control {

LoadWindow::LoadWindow(Seconds span) : slots_(static_cast<size_t>(span.count())) {
  SLUICE_CHECK(span.count() >= 1, "a window has at least one second");
}

size_t LoadWindow::index(int64_t second) const {
  const auto size = static_cast<int64_t>(slots_.size());
  const int64_t rest = second % size;
  return static_cast<size_t>(rest < 0 ? rest + size : rest);
}

void LoadWindow::resize(Seconds span, Seconds now) {
  if (span == this->span()) return;
  const std::vector<Slot> old = std::exchange(slots_, LoadWindow(span).slots_);
  for (const Slot& slot : old) {
    // An empty slot is older than any span.
    if (slot.second >= (now - span).count() && slot.second < now.count()) {
      slots_[index(slot.second)] = slot;
    }
  }
}

bool LoadWindow::add(Seconds now, Seconds second, double value) {
  if (second >= now || second < now - span()) return false;
  // So written that it refuses NaN too.
  if (!(value >= 0 && value <= kMaxSample)) return false;
  slots_[index(second.count())] = {second.count(), value};
  first_ = std::min(first_, second.count());
  return true;
}

std::optional<double> LoadWindow::average(Seconds now, Seconds length) const {
  SLUICE_CHECK(length.count() >= 1 && length <= span(), "a window lies within what is kept");
  double sum = 0;
  bool any = false;
  const int64_t end = now.count();
  // Summed anew each time: a running sum would gather rounding errors.
  for (int64_t second = end - length.count(); second < end; ++second) {
    const Slot& slot = slots_[index(second)];
    if (slot.second != second) continue;
    sum += slot.value;
    any = true;
  }
  if (!any) return std::nullopt;
  return sum / static_cast<double>(std::min(length.count(), end - first_));
}

}  // namespace sluice::control
