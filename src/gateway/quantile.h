// RecentQuantile: a quantile of the latest values, for "how long does the first byte take".
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <mutex>
#include <optional>

namespace sluice::gateway {

// Any thread.
class RecentQuantile {
 public:
  static constexpr size_t kKept = 256;
  static constexpr size_t kEnough = 32;

  void add(double value) {
    const std::lock_guard lock(mutex_);
    values_[count_++ % kKept] = value;
  }

  // Nothing until enough values are known.
  std::optional<double> get(double quantile) const {
    std::array<double, kKept> sorted;
    size_t count = 0;
    {
      const std::lock_guard lock(mutex_);
      count = std::min(count_, kKept);
      if (count < kEnough) return std::nullopt;
      std::copy_n(values_.begin(), count, sorted.begin());
    }
    const auto at =
        sorted.begin() + static_cast<std::ptrdiff_t>(quantile * static_cast<double>(count - 1));
    std::nth_element(sorted.begin(), at, sorted.begin() + static_cast<std::ptrdiff_t>(count));
    return *at;
  }

 private:
  mutable std::mutex mutex_;
  std::array<double, kKept> values_{};
  size_t count_ = 0;
};

}  // namespace sluice::gateway
