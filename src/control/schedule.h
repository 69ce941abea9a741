// The texts of a schedule: days of the week and times of the day. Pure functions on foreign text.
#pragma once

#include <string_view>

namespace sluice::control {

// "Mon-Fri", "Sat,Sun", "Fri-Mon" as bits, Sunday the lowest; 0: not understood.
unsigned parse_days(std::string_view text);
// "07:30" as minutes, up to 24:00; -1: not understood.
int parse_minutes(std::string_view text);

}  // namespace sluice::control
