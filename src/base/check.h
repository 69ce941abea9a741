// SLUICE_CHECK(condition, why): what always holds. A violation is a bug of ours: it is logged with
// its place and the process aborts, so that the supervisor starts a clean one.
#pragma once

namespace sluice {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* why);

}  // namespace sluice

#define SLUICE_CHECK(condition, why)                               \
  do {                                                             \
    if (!(condition)) [[unlikely]] {                               \
      ::sluice::check_failed(__FILE__, __LINE__, #condition, why); \
    }                                                              \
  } while (false)
