#include "base/build_info.h"

#include <fmt/format.h>

namespace sluice {

std::string build_description() {
#ifdef NDEBUG
  constexpr std::string_view kType = "release";
#else
  constexpr std::string_view kType = "debug";
#endif
  return fmt::format("{} clang-{}.{}.{} {}", kVersion, __clang_major__, __clang_minor__,
                     __clang_patchlevel__, kType);
}

}  // namespace sluice
