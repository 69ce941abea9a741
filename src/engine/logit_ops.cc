#include "engine/logit_ops.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace sluice::engine {
namespace {

constexpr size_t kLanes = 16;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// e^x for x in [-87, 0]: x = n ln 2 + r, |r| <= ln 2 / 2, and the Taylor series of e^r, whose
// first term left out is below 6e-9. No branches, no table: vectorizes.
inline float exp_nonpositive(float x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // few bits, so that n * kLn2High is exact
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float clamped = x < -87.0f ? -87.0f : x;
  const float n = (clamped * kLog2E + kRound) - kRound;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  float p = 1.0f / 5040.0f;
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const auto exponent = static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23;
  const float result = p * std::bit_cast<float>(exponent);
  return x < -87.0f ? 0.0f : result;
}

}  // namespace

Peak find_peak(std::span<const float> row) {
  constexpr size_t kStretch = 1024;
  Peak peak{.value = -kInfinity};
  std::array<float, kLanes> zeros{};  // a value times 0 is 0, but for those that are not finite
  size_t found = 0;
  for (size_t start = 0; start < row.size(); start += kStretch) {
    const auto stretch = row.subspan(start, std::min(kStretch, row.size() - start));
    std::array<float, kLanes> lanes;
    lanes.fill(-kInfinity);
    size_t i = 0;
    for (; i + kLanes <= stretch.size(); i += kLanes) {
      for (size_t j = 0; j < kLanes; ++j) {
        const float x = stretch[i + j];
        lanes[j] = x > lanes[j] ? x : lanes[j];
        zeros[j] += x * 0.0f;
      }
    }
    for (; i < stretch.size(); ++i) {
      lanes[0] = stretch[i] > lanes[0] ? stretch[i] : lanes[0];
      zeros[0] += stretch[i] * 0.0f;
    }
    const float top = *std::ranges::max_element(lanes);
    if (top <= peak.value) continue;
    peak.value = top;
    found = start;
  }
  float zero = 0.0f;
  for (const float x : zeros) zero += x;
  peak.finite = zero == 0.0f;
  const auto rest = row.subspan(found);
  const auto at = std::ranges::find(rest, peak.value);
  peak.index = static_cast<int32_t>(at == rest.end() ? 0 : row.size() - size_t(rest.end() - at));
  return peak;
}

float greatest(std::span<const float> row) {
  std::array<float, kLanes> lanes;
  lanes.fill(-kInfinity);
  size_t i = 0;
  for (; i + kLanes <= row.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] = row[i + j] > lanes[j] ? row[i + j] : lanes[j];
  }
  float result = -kInfinity;
  for (; i < row.size(); ++i) result = row[i] > result ? row[i] : result;
  for (const float x : lanes) result = x > result ? x : result;
  return result;
}

void exponentiate(std::span<const float> row, float top, float scale, std::span<float> out) {
  const float* in = row.data();
  float* result = out.data();
  for (size_t i = 0; i < row.size(); ++i) result[i] = exp_nonpositive((in[i] - top) * scale);
}

double log_sum_exp(std::span<const float> row, float top) {
  // Short sums in single precision, longer ones of these in double.
  constexpr size_t kStretch = 256;
  double total = 0.0;
  for (size_t start = 0; start < row.size(); start += kStretch) {
    const auto stretch = row.subspan(start, std::min(kStretch, row.size() - start));
    std::array<float, kLanes> lanes{};
    size_t i = 0;
    for (; i + kLanes <= stretch.size(); i += kLanes) {
      for (size_t j = 0; j < kLanes; ++j) lanes[j] += exp_nonpositive(stretch[i + j] - top);
    }
    for (; i < stretch.size(); ++i) total += static_cast<double>(exp_nonpositive(stretch[i] - top));
    for (const float lane : lanes) total += static_cast<double>(lane);
  }
  return static_cast<double>(top) + std::log(total);
}

double sum(std::span<const float> row) {
  std::array<double, kLanes> lanes{};
  size_t i = 0;
  for (; i + kLanes <= row.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] += static_cast<double>(row[i + j]);
  }
  double total = 0.0;
  for (; i < row.size(); ++i) total += static_cast<double>(row[i]);
  for (const double lane : lanes) total += lane;
  return total;
}

void top_indices(std::span<const float> row, int count, std::vector<int32_t>& best) {
  const auto before = [&](int32_t a, int32_t b) {
    const float x = row[size_t(a)];
    const float y = row[size_t(b)];
    return x > y || (x == y && a < b);
  };
  const size_t wanted = std::min(size_t(std::max(count, 0)), row.size());
  best.clear();
  if (wanted == 0) return;
  for (size_t i = 0; i < wanted; ++i) best.push_back(static_cast<int32_t>(i));
  std::ranges::make_heap(best, before);  // the last in order is at the front
  // Most stretches hold nothing greater than the last one kept: one vectorized look each.
  constexpr size_t kStretch = 64;
  for (size_t start = wanted; start < row.size(); start += kStretch) {
    const auto stretch = row.subspan(start, std::min(kStretch, row.size() - start));
    if (greatest(stretch) <= row[size_t(best.front())]) continue;
    for (size_t i = start; i < start + stretch.size(); ++i) {
      // Equal values do not replace: the lower id came first.
      if (row[i] <= row[size_t(best.front())]) continue;
      std::ranges::pop_heap(best, before);
      best.back() = static_cast<int32_t>(i);
      std::ranges::push_heap(best, before);
    }
  }
  std::ranges::sort_heap(best, before);
}

int rank_of(std::span<const float> row, int32_t token) {
  const float own = row[size_t(token)];
  int before = 0;
  for (const float x : row.first(size_t(token))) before += x >= own ? 1 : 0;
  for (const float x : row.subspan(size_t(token))) before += x > own ? 1 : 0;
  return 1 + before;
}

}  // namespace sluice::engine
