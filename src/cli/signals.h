// Ends of the process: SIGTERM and SIGINT as values to wait for.
#pragma once

#include <chrono>

namespace sluice::cli {

// To be made before any thread: they all inherit the blocked signals. SIGPIPE is ignored.
class Signals {
 public:
  Signals();
  // Waits for SIGTERM or SIGINT; its number, or 0 when `patience` is over first.
  int wait_for(std::chrono::milliseconds patience) const;
  int wait() const;
};

}  // namespace sluice::cli
