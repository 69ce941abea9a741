#include "cli/signals.h"

#include <csignal>
#include <ctime>

namespace sluice::cli {
namespace {

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

Signals::Signals() {
  const sigset_t set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int Signals::wait_for(std::chrono::milliseconds patience) const {
  const sigset_t set = ending_signals();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(patience);
  timespec time{.tv_sec = seconds.count(),
                .tv_nsec = std::chrono::nanoseconds(patience - seconds).count()};
  const int signal = sigtimedwait(&set, nullptr, &time);
  return signal > 0 ? signal : 0;
}

int Signals::wait() const {
  const sigset_t set = ending_signals();
  int signal = 0;
  sigwait(&set, &signal);
  return signal;
}

}  // namespace sluice::cli
