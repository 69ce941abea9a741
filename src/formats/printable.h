// Foreign text for messages and tables: one line, no control characters, not too long.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::formats {

// Control characters and bytes that are no UTF-8 become \xNN; text beyond
// `max_bytes` is cut and ends in "…".
std::string printable(std::string_view text, size_t max_bytes = 120);

}  // namespace sluice::formats
