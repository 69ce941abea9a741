// Instruction sets that kernels exist for.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluice::kernels {

enum class Isa {
  kReference,    // plain C++, the twin that every other version is tested against
  kAvx2,         // AVX2 + FMA + F16C
  kAvxVnni,      // AVX2 with the int8 dot product
  kAvx512,       // AVX-512 F/BW/DQ/VL
  kAvx512Vnni,   // … with the int8 dot product
  kAvx512Bf16,   // … and that of bfloat16, too
  kNeon,         // of every 64-bit ARM processor
  kNeonDotprod,  // … with the int8 dot product
  kNeonI8mm,     // … and the int8 matrix product, too
  kNeonBf16,     // … and the dot product of bfloat16, too
};

std::string_view isa_name(Isa isa);
Result<Isa> parse_isa(std::string_view name);
std::vector<Isa> built_isas();      // those of the architecture that this program is built for
bool isa_supported(Isa isa);        // by this processor
std::vector<Isa> supported_isas();  // ascending, as built_isas()
// The last of them, but for the BF16 dot product where float32 does more: an Emerald Rapids makes
// 160 GFLOP/s of the one and 330 of the other, a Zen 5 950 and 480.
Isa best_isa();

// Whether attention over a BF16 cache multiplies BF16.
bool multiplies_bf16_pairs(Isa isa);

// What suits the cores of this processor beyond its instruction set. No result depends on it.
struct CoreHabits {
  // Where weights are fetched ahead of their use. Those that are read once into the first level
  // only, those that stay into both; false: all of them into the second level only.
  bool past_second_level;
  int64_t fetch_distance;  // bytes; of those that are read once
  // Taller tiles of int8 rows, where the instruction set has them.
  bool tall_tiles;
};
const CoreHabits& core_habits();
// For tests: others than this processor's, while nobody multiplies.
void set_core_habits(const CoreHabits& others);

}  // namespace sluice::kernels
