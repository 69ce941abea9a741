// MassFilter: keeps the fewest entries of a row, in a given order, that together reach a mass. What
// top_p, typical_p and a large top_k have in common.
//
// No sorting of the row: one pass sums masses by the upper bits of the keys, which finds the
// stretch of keys in which the goal is reached; only there, and again by the next bits, the order
// matters. Fixed order of operations. One owner, one thread.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace sluice::engine {

// What an entry adds: its weight, or 1.
enum class Mass { kWeight, kOne };

class MassFilter {
 public:
  // Entries with weight 0 are not there. Of the others the fewest stay, at least one, by key and
  // then by index, whose masses reach `goal`; the rest get weight 0. Keys are below 2^31.
  void keep(std::span<float> weights, std::span<const uint32_t> keys, Mass mass, double goal);

 private:
  struct Entry {
    uint32_t key = 0;
    uint32_t index = 0;
    float weight = 0.0f;
  };

  // Sums masses by the keys' upper bits. Returns the stretch in which `goal` is reached, and the
  // mass before it.
  std::pair<uint32_t, double> find_stretch(std::span<const float> weights,
                                           std::span<const uint32_t> keys, Mass mass, double goal);
  void narrow(Mass mass, double goal, double& reached, std::span<float> weights);

  std::vector<double> masses_;    // scratch
  std::vector<Entry> undecided_;  // scratch
};

}  // namespace sluice::engine
