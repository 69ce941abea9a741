// Random numbers that can be repeated.
//
// philox() is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11,
// Philox4x32-10): the n-th draw of a request depends on its seed and n only, never on what else
// ran. Rng is a small sequential generator (SplitMix64) for tests, simulations and ids.
#pragma once

#include <array>
#include <cstdint>

namespace sluice {

// Four 32-bit words from a 128-bit counter and a 64-bit key.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A double in [0, 1) with 53 random bits: draw `index` of lane `lane` of the stream `seed`.
double philox_uniform(uint64_t seed, uint64_t index, uint32_t lane = 0);

// One owner, no locking.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  // In [0, bound); bound > 0.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }

  // In [low, high], both included.
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(below(static_cast<uint64_t>(high - low) + 1));
  }

  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  bool chance(double probability) { return uniform() < probability; }

 private:
  uint64_t state_;
};

// 64 bits from the operating system's entropy source.
uint64_t random_seed();

}  // namespace sluice
