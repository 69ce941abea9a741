// Ends of the process: SIGTERM and SIGINT as values to wait for, and others where they are wanted:
// SIGHUP; and for who supervises others SIGUSR2 and SIGCHLD too.
#pragma once

#include <chrono>

namespace sluice::cli {

// To be made before any thread: they all inherit the blocked signals. SIGPIPE is ignored.
class Signals {
 public:
  enum Which { kEnding, kWithHangUp, kSupervising };
  explicit Signals(Which which = kEnding);
  // Waits for one of the signals; its number, or 0 when `patience` is over first.
  int wait_for(std::chrono::milliseconds patience) const;
  int wait() const;

 private:
  const Which which_;
};

}  // namespace sluice::cli
