#include "base/sizes.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>

namespace sluice {

Result<int64_t> parse_size(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  int shift = -1;
  if (unit.empty()) shift = 0;
  if (unit == "K" || unit == "KiB") shift = 10;
  if (unit == "M" || unit == "MiB") shift = 20;
  if (unit == "G" || unit == "GiB") shift = 30;
  const bool overflow = shift > 0 && number > (std::numeric_limits<int64_t>::max() >> shift);
  if (error != std::errc() || number < 0 || shift < 0 || overflow) {
    return invalid(fmt::format("'{}' is no size: expected a number, maybe with K, M or G", text));
  }
  return number << shift;
}

std::string show_size(int64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace sluice
