#include "formats/generation_check.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string_view>

namespace sluice::formats {
namespace {

Outcome check(std::string_view name, std::optional<double> value, double low, double high) {
  if (!value || (std::isfinite(*value) && *value >= low && *value <= high)) return {};
  return invalid(
      fmt::format("sampling default {}: {} to {} expected; found {}", name, low, high, *value));
}

}  // namespace

Outcome check_generation(const GenerationDefaults& g, int vocab) {
  SLUICE_RETURN_IF_ERROR(check("temperature", g.temperature, 0.0, 100.0));
  SLUICE_RETURN_IF_ERROR(check("top_p", g.top_p, 0.0, 1.0));
  SLUICE_RETURN_IF_ERROR(check("min_p", g.min_p, 0.0, 1.0));
  SLUICE_RETURN_IF_ERROR(check("repetition_penalty", g.repetition_penalty, 1e-3, 100.0));
  for (const int32_t id : g.eos_ids) {
    if (id < 0 || id >= vocab) {
      return invalid(fmt::format("end-of-sequence id: 0 to {} expected; found {}", vocab - 1, id));
    }
  }
  return {};
}

}  // namespace sluice::formats
