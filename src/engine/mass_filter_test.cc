#include "engine/mass_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "base/rng.h"

namespace sluice::engine {
namespace {

struct Row {
  std::vector<float> weights;
  std::vector<uint32_t> keys;
};

// Many ties, some entries that are not there.
Row random_row(Rng& rng, size_t size) {
  Row row;
  const auto distinct = static_cast<uint64_t>(rng.between(1, 300));
  for (size_t i = 0; i < size; ++i) {
    const float weight = rng.chance(0.2) ? 0.0f : static_cast<float>(1 + rng.below(distinct));
    row.weights.push_back(weight / static_cast<float>(distinct));
    row.keys.push_back(rng.chance(0.5) ? static_cast<uint32_t>(rng.below(uint64_t{1} << 31))
                                       : 0x3F000000u + static_cast<uint32_t>(rng.below(400)));
  }
  row.weights[rng.below(size)] = 1.0f;
  return row;
}

// The definition: sort all, keep until the goal is reached.
std::vector<float> keep_by_sorting(const Row& row, Mass mass, double goal) {
  std::vector<size_t> order;
  for (size_t i = 0; i < row.weights.size(); ++i) {
    if (row.weights[i] > 0.0f) order.push_back(i);
  }
  std::ranges::sort(order, {}, [&](size_t i) { return std::pair(row.keys[i], i); });
  std::vector<float> kept(row.weights.size());
  double reached = 0.0;
  for (const size_t i : order) {
    if (reached > 0.0 && reached >= goal) break;
    kept[i] = row.weights[i];
    reached += mass == Mass::kOne ? 1.0 : static_cast<double>(row.weights[i]);
  }
  return kept;
}

TEST(MassFilter, KeepsWhatItsDefinitionSays) {
  Rng rng(4);
  MassFilter filter;
  for (int round = 0; round < 400; ++round) {
    const Row row = random_row(rng, size_t(rng.between(1, 3000)));
    double total = 0.0;
    for (const float w : row.weights) total += static_cast<double>(w);
    // Away from sums of weights, where the order of additions decides.
    const double goal = rng.chance(0.1) ? 0.0 : total * rng.uniform() + 1e-7;
    std::vector<float> got = row.weights;
    filter.keep(got, row.keys, Mass::kWeight, goal);
    ASSERT_EQ(got, keep_by_sorting(row, Mass::kWeight, goal)) << round;
    const auto count = static_cast<double>(rng.between(1, 3000));
    got = row.weights;
    filter.keep(got, row.keys, Mass::kOne, count);
    ASSERT_EQ(got, keep_by_sorting(row, Mass::kOne, count)) << round;
  }
}

TEST(MassFilter, AGoalThatIsNeverReachedKeepsAll) {
  MassFilter filter;
  std::vector<float> weights = {0.5f, 0.0f, 0.25f};
  const std::vector<float> all = weights;
  filter.keep(weights, std::vector<uint32_t>{9, 0, 0x7FFFFFFF}, Mass::kWeight, 7.0);
  EXPECT_EQ(weights, all);
}

}  // namespace
}  // namespace sluice::engine
