// Random ids, such as "chatcmpl-0f3a…": a prefix and 96 random bits in hex. Callable from any
// thread.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

std::string new_id(std::string_view prefix);

}  // namespace sluice
