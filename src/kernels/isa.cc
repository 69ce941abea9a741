#include "kernels/isa.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace sluice::kernels {
namespace {

constexpr Isa kAll[] = {Isa::kReference,  Isa::kAvx2,       Isa::kAvxVnni, Isa::kAvx512,
                        Isa::kAvx512Vnni, Isa::kAvx512Bf16, Isa::kNeon,    Isa::kNeonDotprod,
                        Isa::kNeonI8mm,   Isa::kNeonBf16};

bool is_built(Isa isa) {
  if (isa == Isa::kReference) return true;
#if defined(__x86_64__)
  return isa < Isa::kNeon;
#elif defined(__aarch64__)
  return isa >= Isa::kNeon;
#else
  return false;
#endif
}

// On a Zen 5, steps of one stream are 3 to 7 % shorter past the second level, and tiles of more
// than five rows are slower. An Emerald Rapids has few lines on their way to the first level at a
// time: so fetched, one stream reads 9 of the 24 GB/s that there are, and 22 to 24 by the second
// level; several streams gain 5 to 10 %. A dot product takes five cycles there and two begin in
// each, so that ten sums cannot keep it busy: eight rows take 4 to 17 % less time in one tile, 16
// rows in tiles of eight 5 to 14 %, prompts in tiles of six 2 to 5 %.
CoreHabits habits_of_this_processor() {
#if defined(__x86_64__)
  if (!__builtin_cpu_is("amd")) {
    return {.past_second_level = false, .fetch_distance = 8192, .tall_tiles = true};
  }
#endif
  return {.past_second_level = true, .fetch_distance = 4096, .tall_tiles = false};
}

CoreHabits& habits() {
  static CoreHabits here = habits_of_this_processor();
  return here;
}

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return "reference";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvxVnni:
      return "avxvnni";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
    case Isa::kAvx512Bf16:
      return "avx512bf16";
    case Isa::kNeon:
      return "neon";
    case Isa::kNeonDotprod:
      return "neondotprod";
    case Isa::kNeonI8mm:
      return "neoni8mm";
    case Isa::kNeonBf16:
      return "neonbf16";
  }
  return "unknown";
}

Result<Isa> parse_isa(std::string_view name) {
  for (const Isa isa : kAll) {
    if (isa_name(isa) == name) return isa;
  }
  std::vector<std::string_view> names;
  for (const Isa isa : kAll) names.push_back(isa_name(isa));
  return invalid(fmt::format("unknown instruction set \"{}\": expected one of {}", name,
                             fmt::join(names, ", ")));
}

bool isa_supported(Isa isa) {
  switch (isa) {
    case Isa::kReference:
#if defined(__aarch64__)
    case Isa::kNeon:
#endif
      return true;
#if defined(__x86_64__)
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c");
    case Isa::kAvxVnni:
      return isa_supported(Isa::kAvx2) && __builtin_cpu_supports("avxvnni");
    case Isa::kAvx512:
      return isa_supported(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case Isa::kAvx512Vnni:
      return isa_supported(Isa::kAvx512) && __builtin_cpu_supports("avx512vnni");
    case Isa::kAvx512Bf16:
      return isa_supported(Isa::kAvx512Vnni) && __builtin_cpu_supports("avx512bf16");
#elif defined(__aarch64__)
    case Isa::kNeonDotprod:
      return (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    case Isa::kNeonI8mm:
      return isa_supported(Isa::kNeonDotprod) && (::getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
    case Isa::kNeonBf16:
      return isa_supported(Isa::kNeonI8mm) && (::getauxval(AT_HWCAP2) & HWCAP2_BF16) != 0;
#endif
    default:
      return false;
  }
}

std::vector<Isa> built_isas() {
  std::vector<Isa> found;
  std::ranges::copy_if(kAll, std::back_inserter(found), is_built);
  return found;
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> found;
  std::ranges::copy_if(kAll, std::back_inserter(found), isa_supported);
  return found;
}

Isa best_isa() {
  const Isa last = supported_isas().back();
#if defined(__x86_64__)
  if (last == Isa::kAvx512Bf16 && !__builtin_cpu_is("amd")) return Isa::kAvx512Vnni;
#endif
  return last;
}

bool multiplies_bf16_pairs(Isa isa) { return isa == Isa::kAvx512Bf16; }

const CoreHabits& core_habits() { return habits(); }

void set_core_habits(const CoreHabits& others) { habits() = others; }

}  // namespace sluice::kernels
