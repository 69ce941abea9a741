// Which build this is: shown by /version and part of the numerics id.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

inline constexpr std::string_view kVersion = "0.1.0";

// Version, compiler and build type: "0.1.0 clang-19.1.7 release".
std::string build_description();

}  // namespace sluice
