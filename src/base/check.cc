#include "base/check.h"

#include <cstdlib>

#include "base/log.h"

namespace sluice {

void check_failed(const char* file, int line, const char* condition, const char* why) {
  log_error("check failed at {}:{}: {} ({})", file, line, condition, why);
  flush_log();
  std::abort();
}

}  // namespace sluice
