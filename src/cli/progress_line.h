// ProgressLine: how far a long command is, on standard error. On a terminal one line is drawn over
// and over; elsewhere a line is written every ten seconds.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace sluice::cli {

// One owner, no locking.
class ProgressLine {
 public:
  // `what` is at hand, `done` of `total` bytes are through (total 0: not known).
  void show(std::string_view what, uint64_t done, uint64_t total);

  // A line that stays.
  void note(const std::string& line);

  void clear();

 private:
  const bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool begun_ = false;
  bool drawn_ = false;
  TimePoint start_{};
  TimePoint last_line_{};
  uint64_t first_bytes_ = 0;
};

}  // namespace sluice::cli
