#include "base/ids.h"

#include <fmt/format.h>

#include "base/rng.h"

namespace sluice {

std::string new_id(std::string_view prefix) {
  thread_local Rng rng(random_seed());
  return fmt::format("{}{:016x}{:08x}", prefix, rng.next(), static_cast<uint32_t>(rng.next()));
}

}  // namespace sluice
