// Sizes as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice {

// "4096", "512K", "64M", "2G" (also KiB, MiB, GiB; powers of 1024).
Result<int64_t> parse_size(std::string_view text);

// "3.4 MiB".
std::string show_size(int64_t bytes);

}  // namespace sluice
