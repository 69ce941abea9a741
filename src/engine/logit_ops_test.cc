#include "engine/logit_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/rng.h"

namespace sluice::engine {
namespace {

// Sizes around the widths that the loops work in; values with many ties.
std::vector<float> random_row(Rng& rng, size_t size) {
  std::vector<float> row(size);
  for (float& x : row) x = static_cast<float>(rng.between(-40, 40)) / 2.0f;
  return row;
}

constexpr size_t kSizes[] = {1, 2, 15, 16, 17, 63, 64, 65, 130, 1000, 4099};

TEST(LogitOps, ThePeakIsTheFirstOfTheGreatest) {
  Rng rng(1);
  for (const size_t size : kSizes) {
    const auto row = random_row(rng, size);
    EXPECT_EQ(find_peak(row).index, std::ranges::max_element(row) - row.begin());
    EXPECT_EQ(find_peak(row).value, *std::ranges::max_element(row));
    EXPECT_EQ(greatest(row), *std::ranges::max_element(row));
  }
}

TEST(LogitOps, FindsWhatIsNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const size_t size : kSizes) {
    for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
      std::vector<float> row(size, 1.0f);
      EXPECT_TRUE(find_peak(row).finite);
      for (const size_t at : {size_t{0}, size / 2, size - 1}) {
        row[at] = bad;
        EXPECT_FALSE(find_peak(row).finite);
        row[at] = 1.0f;
      }
    }
  }
  const float most = std::numeric_limits<float>::max();
  EXPECT_TRUE(find_peak(std::vector<float>{most, -most, most, -0.0f, 1e-45f}).finite);
}

TEST(LogitOps, ThePeakOfAMaskedRowIsAmongTheRest) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  std::vector<float> row(3000, kMasked);
  EXPECT_EQ(find_peak(row).value, kMasked);
  row[2900] = -5.0f;
  EXPECT_EQ(find_peak(row).value, -5.0f);
  EXPECT_EQ(find_peak(row).index, 2900);
}

TEST(LogitOps, ExponentialIsWithinItsError) {
  std::vector<float> row;
  for (int i = 0; i < 87'000; ++i) row.push_back(-static_cast<float>(i) * 0.001f);
  std::vector<float> got(row.size());
  exponentiate(row, 0.0f, 1.0f, got);
  for (size_t i = 0; i < row.size(); ++i) {
    const double want = std::exp(static_cast<double>(row[i]));
    ASSERT_NEAR(got[i] / want, 1.0, 1e-6) << row[i];
  }
  const std::vector<float> given = {3.0f, 2.0f, -200.0f, -std::numeric_limits<float>::infinity()};
  std::vector<float> edge(given.size());
  exponentiate(given, 3.0f, 2.0f, edge);
  EXPECT_EQ(edge[0], 1.0f);
  EXPECT_NEAR(edge[1], std::exp(-2.0), 1e-7);
  EXPECT_EQ(edge[2], 0.0f);
  EXPECT_EQ(edge[3], 0.0f);
}

TEST(LogitOps, LogSumExpMatchesItsTwinInDoublePrecision) {
  Rng rng(2);
  for (const size_t size : kSizes) {
    auto row = random_row(rng, size);
    for (float& x : row) x += 300.0f;
    double total = 0.0;
    for (const float x : row) total += std::exp(static_cast<double>(x) - 300.0);
    EXPECT_NEAR(log_sum_exp(row, find_peak(row).value), 300.0 + std::log(total), 1e-6);
    EXPECT_DOUBLE_EQ(sum(row), std::accumulate(row.begin(), row.end(), 0.0));
  }
}

TEST(LogitOps, TopIndicesAreTheStartOfAFullSort) {
  Rng rng(3);
  for (const size_t size : kSizes) {
    const auto row = random_row(rng, size);
    std::vector<int32_t> sorted(size);
    std::iota(sorted.begin(), sorted.end(), 0);
    std::ranges::sort(sorted, [&](int32_t a, int32_t b) {
      return row[size_t(a)] > row[size_t(b)] || (row[size_t(a)] == row[size_t(b)] && a < b);
    });
    for (const int count : {0, 1, 2, 20, 64, 5000}) {
      std::vector<int32_t> top = {7, 7, 7};  // what is there before counts for nothing
      top_indices(row, count, top);
      ASSERT_EQ(top.size(), std::min(size, size_t(count)));
      EXPECT_TRUE(std::ranges::equal(top, std::span(sorted).first(top.size())));
    }
    for (size_t i = 0; i < size; ++i) {
      ASSERT_EQ(rank_of(row, sorted[i]), static_cast<int>(i) + 1);
    }
  }
}

}  // namespace
}  // namespace sluice::engine
