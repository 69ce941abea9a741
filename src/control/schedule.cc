#include "control/schedule.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace sluice::control {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr int kDayMinutes = 24 * 60;

unsigned day_of(std::string_view text) {
  const auto* const found = std::ranges::find(kDays, text);
  return static_cast<unsigned>(found - kDays.begin());
}

unsigned days_of_range(std::string_view text) {
  const size_t dash = text.find('-');
  const unsigned first = day_of(text.substr(0, dash));
  const unsigned last = dash == std::string_view::npos ? first : day_of(text.substr(dash + 1));
  if (first >= kDays.size() || last >= kDays.size()) return 0;
  unsigned days = 0;
  for (unsigned day = first;; day = (day + 1) % 7) {
    days |= 1u << day;
    if (day == last) return days;
  }
}

}  // namespace

unsigned parse_days(std::string_view text) {
  unsigned days = 0;
  while (true) {
    const size_t comma = text.find(',');
    std::string_view part = text.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    const unsigned some = days_of_range(part);
    if (some == 0) return 0;
    days |= some;
    if (comma == std::string_view::npos) return days;
    text.remove_prefix(comma + 1);
  }
}

int parse_minutes(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return -1;
  int hours = 0;
  int minutes = 0;
  const auto number = [](std::string_view digits, int& value) {
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
  };
  if (!number(text.substr(0, 2), hours) || !number(text.substr(3), minutes)) return -1;
  if (hours < 0 || hours > 24 || minutes < 0 || minutes > 59) return -1;
  const int at = hours * 60 + minutes;
  return at > kDayMinutes ? -1 : at;
}

}  // namespace sluice::control
