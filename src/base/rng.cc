#include "base/rng.h"

#include <sys/random.h>

#include "base/check.h"

namespace sluice {
namespace {

constexpr uint32_t kMul0 = 0xD2511F53u;
constexpr uint32_t kMul1 = 0xCD9E8D57u;
constexpr uint32_t kWeyl0 = 0x9E3779B9u;
constexpr uint32_t kWeyl1 = 0xBB67AE85u;

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kMul0) * c[0];
    const uint64_t p1 = static_cast<uint64_t>(kMul1) * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += kWeyl0;
    k[1] += kWeyl1;
  }
  return c;
}

double philox_uniform(uint64_t seed, uint64_t index, uint32_t lane) {
  const auto words =
      philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), lane, 0},
             {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  const uint64_t bits = (static_cast<uint64_t>(words[0]) << 32 | words[1]) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53;
}

uint64_t random_seed() {
  uint64_t seed = 0;
  const ssize_t got = getrandom(&seed, sizeof(seed), 0);
  SLUICE_CHECK(got == sizeof(seed), "the kernel's entropy source gave no bytes");
  return seed;
}

}  // namespace sluice
