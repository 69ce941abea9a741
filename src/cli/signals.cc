#include "cli/signals.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <ctime>

namespace sluice::cli {
namespace {

sigset_t signal_set(Signals::Which which) {
  sigset_t set;
  sigemptyset(&set);
  if (which == Signals::kServing || which == Signals::kSupervising) {
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
  }
  if (which == Signals::kHandingOver || which == Signals::kSupervising) sigaddset(&set, SIGUSR2);
  if (which == Signals::kSupervising) sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

Signals::Signals(Which which) : which_(which) {
  const sigset_t set = signal_set(which_);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

Signals::~Signals() {
  if (signal_fd_ >= 0) close(signal_fd_);
}

int Signals::wait_for(std::chrono::milliseconds patience) const {
  const sigset_t set = signal_set(which_);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(patience);
  timespec time{.tv_sec = seconds.count(),
                .tv_nsec = std::chrono::nanoseconds(patience - seconds).count()};
  const int signal = sigtimedwait(&set, nullptr, &time);
  return signal > 0 ? signal : 0;
}

int Signals::wait_for(std::chrono::milliseconds patience, int fd) const {
  if (fd < 0 || signal_fd_ < 0) return wait_for(patience);
  std::array<pollfd, 2> watched = {{{.fd = signal_fd_, .events = POLLIN, .revents = 0},
                                    {.fd = fd, .events = POLLIN, .revents = 0}}};
  poll(watched.data(), watched.size(), static_cast<int>(patience.count()));
  return wait_for(std::chrono::milliseconds(0));
}

int Signals::wait() const {
  const sigset_t set = signal_set(which_);
  int signal = 0;
  sigwait(&set, &signal);
  return signal;
}

}  // namespace sluice::cli
