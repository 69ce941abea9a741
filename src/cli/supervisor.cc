#include "cli/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/clock.h"
#include "base/log.h"
#include "cli/signals.h"

namespace sluice::cli {
namespace {

constexpr int kFirstInherited = 3;  // sd_listen_fds(3)
constexpr auto kLook = std::chrono::milliseconds(50);
constexpr auto kReadyPatience = std::chrono::seconds(60);
constexpr auto kShortLife = std::chrono::seconds(1);  // who dies sooner is followed later
constexpr Duration kFirstPause = std::chrono::milliseconds(100);
constexpr Duration kLongestPause = std::chrono::seconds(5);

// Where processes say that they are ready.
class NotifySocket {
 public:
  // An abstract name: there is no file that could be left behind.
  static Result<NotifySocket> open() {
    NotifySocket out;
    out.socket_ = net::Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // With no name of its own the kernel gives it one.
    socklen_t size = sizeof(sa_family_t);
    if (!out.socket_.valid() ||
        ::setsockopt(out.socket_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0 ||
        ::bind(out.socket_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
      return fail(Code::kUnavailable, net::errno_text("notification socket", errno));
    }
    size = sizeof(address);
    ::getsockname(out.socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    const size_t length = size - offsetof(sockaddr_un, sun_path);
    out.name_ = "@" + std::string(address.sun_path + 1, length - 1);
    return out;
  }

  const std::string& name() const { return name_; }

  // The process that said so; the kernel vouches for its number. Nothing: none has.
  std::optional<pid_t> next_ready() {
    while (true) {
      std::array<char, 256> text{};
      alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
      iovec part{.iov_base = text.data(), .iov_len = text.size()};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const ssize_t count = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
      if (count <= 0) return std::nullopt;
      const cmsghdr* header = CMSG_FIRSTHDR(&message);
      if (header == nullptr || header->cmsg_type != SCM_CREDENTIALS) continue;
      ucred sender{};
      std::memcpy(&sender, CMSG_DATA(header), sizeof(sender));
      if (std::string_view(text.data(), static_cast<size_t>(count)).contains("READY=1")) {
        return sender.pid;
      }
    }
  }

 private:
  net::Fd socket_;
  std::string name_;
};

// In the child, between fork() and exec(): this process had one thread only, so all is allowed.
[[noreturn]] void become(const std::string& file, const std::vector<std::string>& command,
                         int listener, const std::string& notify, pid_t parent) {
  // A process must not outlive its supervisor: it holds the port.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::setpgid(0, 0);  // what a terminal sends comes once, by way of the supervisor
  if (::getppid() != parent) std::_Exit(1);
  if (listener == kFirstInherited) {
    ::fcntl(listener, F_SETFD, 0);
  } else {
    ::dup2(listener, kFirstInherited);  // without close-on-exec
  }
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("NOTIFY_SOCKET", notify.c_str(), 1);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> arguments;
  for (const std::string& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  ::execv(file.c_str(), arguments.data());
  log_error("{}", net::errno_text("cannot start " + file, errno));
  std::_Exit(127);
}

class Supervisor {
 public:
  Supervisor(const SupervisorOptions& options, std::string file, net::Fd listener,
             NotifySocket notify)
      : options_(options),
        file_(std::move(file)),
        listener_(std::move(listener)),
        notify_(std::move(notify)),
        signals_(Signals::kSupervising) {}

  int run() {
    current_ = start();
    while (current_ > 0 || next_ > 0 || !leaving_.empty() || !ending_) {
      on_signal(signals_.wait_for(kLook));
      while (const auto ready = notify_.next_ready()) on_ready(*ready);
      reap();
      look_after();
    }
    return status_;
  }

 private:
  pid_t start() {
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child == 0) become(file_, options_.command, listener_.get(), notify_.name(), parent);
    if (child < 0) {
      log_error("{}", net::errno_text("cannot start a process", errno));
      return 0;
    }
    log_info("process {} started", child);
    started_ = system_clock().now();
    return child;
  }

  void on_signal(int signal) {
    if (signal == SIGTERM || signal == SIGINT) {
      ending_ = true;
      for (const pid_t each : all()) ::kill(each, signal);
    } else if (signal == SIGHUP && current_ > 0) {
      ::kill(current_, SIGHUP);
    } else if (signal == SIGUSR2) {
      if (ending_ || next_ > 0) return;
      log_info("a new process takes over");
      next_ = start();
      next_until_ = system_clock().now() + kReadyPatience;
    }
  }

  void on_ready(pid_t process) {
    ever_ready_ = true;
    if (process != next_) return;
    if (current_ > 0) {
      ::kill(current_, SIGTERM);
      leaving_.push_back(current_);
    }
    current_ = std::exchange(next_, 0);
    log_info("process {} has taken over", current_);
  }

  void reap() {
    int how = 0;
    for (pid_t process = 0; (process = ::waitpid(-1, &how, WNOHANG)) > 0;) {
      const int status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
      std::erase(leaving_, process);
      if (process == next_) {
        next_ = 0;
        log_error("the new process ended with status {} before it was ready; the one before stays",
                  status);
      } else if (process == current_) {
        current_ = 0;
        status_ = status;
        // One that cannot start at all has said why.
        ending_ = ending_ || !ever_ready_;
        if (!ending_) on_death(process, status);
      }
    }
  }

  void on_death(pid_t process, int status) {
    const TimePoint now = system_clock().now();
    const bool soon = now - started_ < kShortLife;
    pause_ = soon ? std::clamp(pause_ * 2, kFirstPause, kLongestPause) : Duration::zero();
    start_at_ = now + pause_;
    log_error("process {} died with status {}; another follows", process, status);
  }

  void look_after() {
    const TimePoint now = system_clock().now();
    if (next_ > 0 && now > next_until_) {
      log_error("the new process {} is not ready in time; the one before stays", next_);
      ::kill(next_, SIGKILL);
    }
    if (current_ == 0 && !ending_ && now >= start_at_) current_ = start();
  }

  std::vector<pid_t> all() const {
    std::vector<pid_t> out = leaving_;
    if (current_ > 0) out.push_back(current_);
    if (next_ > 0) out.push_back(next_);
    return out;
  }

  const SupervisorOptions& options_;
  const std::string file_;
  const net::Fd listener_;
  NotifySocket notify_;
  const Signals signals_;
  pid_t current_ = 0;  // 0: none
  pid_t next_ = 0;     // takes over when it is ready
  std::vector<pid_t> leaving_;
  TimePoint started_{};
  TimePoint next_until_{};
  TimePoint start_at_{};
  Duration pause_{};
  bool ever_ready_ = false;
  bool ending_ = false;
  int status_ = 0;
};

}  // namespace

int run_supervised(const SupervisorOptions& options) {
  std::error_code error;
  // Now, while the link names the file: a new version is renamed over it.
  const auto file = std::filesystem::read_symlink("/proc/self/exe", error);
  auto listener = net::listen_on(options.host, options.port);
  auto notify = NotifySocket::open();
  if (error || !listener || !notify) {
    log_error("{}", error       ? error.message()
                    : !listener ? listener.error().message()
                                : notify.error().message());
    return 1;
  }
  return Supervisor(options, file.string(), *std::move(listener), *std::move(notify)).run();
}

std::optional<int> take_inherited_socket() {
  const char* count = std::getenv("LISTEN_FDS");
  const char* process = std::getenv("LISTEN_PID");
  const bool ours = count != nullptr && process != nullptr && std::string_view(count) == "1" &&
                    process == std::to_string(::getpid());
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_PID");
  if (!ours) return std::nullopt;
  ::fcntl(kFirstInherited, F_SETFD, FD_CLOEXEC);
  return kFirstInherited;
}

void notify_ready() {
  const char* name = std::getenv("NOTIFY_SOCKET");
  if (name == nullptr || (name[0] != '@' && name[0] != '/')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string_view path(name);
  if (path.size() >= sizeof(address.sun_path)) return;
  std::ranges::copy(path, address.sun_path);
  if (path[0] == '@') address.sun_path[0] = '\0';
  const net::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  constexpr std::string_view kReady = "READY=1";
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  ::sendto(socket.get(), kReady.data(), kReady.size(), MSG_NOSIGNAL,
           reinterpret_cast<const sockaddr*>(&address), size);
}

}  // namespace sluice::cli
