// Ends of the process: SIGTERM and SIGINT as values to wait for, and others where they are wanted.
#pragma once

#include <chrono>

namespace sluice::cli {

// To be made before any thread: they all inherit the blocked signals. SIGPIPE is ignored.
class Signals {
 public:
  enum Which {
    kEnding,
    kServing,      // and SIGHUP: look at the configuration; SIGUSR1: say that the end is near
    kHandingOver,  // and SIGUSR2: end, and leave to a successor what goes on
    kSupervising,
  };
  explicit Signals(Which which = kEnding);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  // Waits for one of the signals; its number, or 0 when `patience` is over first.
  int wait_for(std::chrono::milliseconds patience) const;
  int wait() const;
  // The same, or until there is something to read from `fd`: then 0 too.
  int wait_for(std::chrono::milliseconds patience, int fd) const;

 private:
  const Which which_;
  int signal_fd_ = -1;
};

}  // namespace sluice::cli
