#include "cli/supervised_part.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/log.h"

namespace sluice::cli {
namespace {

constexpr auto kReadyPatience = std::chrono::seconds(60);
constexpr auto kShortLife = std::chrono::seconds(1);  // who dies sooner is followed later
constexpr int kKilled = 128;                          // statuses from here on are signals
constexpr int kFirstStarts = 5;                       // of one that is killed before it ever served
constexpr Duration kFirstPause = std::chrono::milliseconds(100);
constexpr Duration kLongestPause = std::chrono::seconds(5);

// In the child, between fork() and exec(): this process had one thread only, so all is allowed.
[[noreturn]] void become(const std::string& file, const std::vector<std::string>& command,
                         const std::vector<net::Fd>& listeners, const std::string& notify,
                         pid_t parent) {
  // A process must not outlive its supervisor: it holds the port.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::setpgid(0, 0);  // what a terminal sends comes once, by way of the supervisor
  if (::getppid() != parent) std::_Exit(1);
  const auto count = static_cast<int>(listeners.size());
  std::vector<int> moved;  // to where none is put over another
  moved.reserve(listeners.size());
  for (const net::Fd& each : listeners) {
    moved.push_back(::fcntl(each.get(), F_DUPFD_CLOEXEC, kFirstInherited + count));
  }
  for (int i = 0; i < count; ++i) {
    ::dup2(moved[static_cast<size_t>(i)], kFirstInherited + i);  // without close-on-exec
  }
  ::setenv("LISTEN_FDS", std::to_string(count).c_str(), 1);
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("NOTIFY_SOCKET", notify.c_str(), 1);
  // Held back until the program asks for them: one that comes just now must not end it halfway.
  sigset_t later;
  sigemptyset(&later);
  for (const int each : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&later, each);
  ::sigprocmask(SIG_SETMASK, &later, nullptr);
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  ::execv(file.c_str(), arguments.data());
  log_error("{}", net::errno_text("cannot start " + file, errno));
  std::_Exit(127);
}

}  // namespace

// An abstract name: there is no file that could be left behind.
Result<NotifySocket> NotifySocket::open() {
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

std::optional<pid_t> NotifySocket::next_ready() {
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

Result<std::string> own_program() {
  std::error_code error;
  const auto file = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return fail(Code::kUnavailable, "/proc/self/exe: " + error.message());
  return file.string();
}

SupervisedPart::SupervisedPart(PartOptions options, std::string file,
                               std::vector<net::Fd> listeners, std::string notify_name)
    : options_(std::move(options)),
      file_(std::move(file)),
      listeners_(std::move(listeners)),
      port_(net::local_port(listeners_.front().get())),
      notify_name_(std::move(notify_name)) {}

pid_t SupervisedPart::launch() {
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) become(file_, options_.command, listeners_, notify_name_, parent);
  if (child < 0) {
    log_error("{}", net::errno_text("cannot start a process", errno));
    return 0;
  }
  log_info("{}process {} started", called(), child);
  started_ = system_clock().now();
  return child;
}

void SupervisedPart::start() {
  if (ending_) return;
  begun_ = true;
  current_ = launch();
}

void SupervisedPart::upgrade() {
  if (ending_ || next_ > 0 || handing_over_ || !begun_) return;
  log_info("{}a new process takes over", called());
  if (options_.take_over == TakeOver::kAfter && current_ > 0) {
    handing_over_ = true;
    ::kill(current_, options_.leave_signal);
    return;
  }
  next_ = launch();
  next_until_ = system_clock().now() + kReadyPatience;
}

void SupervisedPart::pass_on(int signal) {
  if (current_ > 0) ::kill(current_, signal);
}

void SupervisedPart::end(int signal) {
  ending_ = true;
  // Who comes from now on is refused at once, and goes elsewhere: in the queue of a socket that
  // nobody takes from any more, they would wait for nothing.
  listeners_.clear();
  if (current_ == 0 && ever_ready_) status_ = 0;  // of one that would have been followed
  kill_all(signal);
}

void SupervisedPart::kill_all(int signal) {
  for (const pid_t each : all()) ::kill(each, signal);
}

bool SupervisedPart::on_ready(pid_t process) {
  if (process == current_) {
    ever_ready_ = true;
    return true;
  }
  if (process != next_ || next_ == 0) return false;
  ever_ready_ = true;
  if (current_ > 0) {
    ::kill(current_, options_.leave_signal);
    leaving_.push_back(current_);
  }
  current_ = std::exchange(next_, 0);
  log_info("{}process {} has taken over", called(), current_);
  return true;
}

bool SupervisedPart::on_exit(pid_t process, int status) {
  if (std::erase(leaving_, process) > 0) return true;
  if (process == next_) {
    next_ = 0;
    log_error("{}the new process ended with status {} before it was ready; the one before stays",
              called(), status);
    return true;
  }
  if (process != current_) return false;
  current_ = 0;
  status_ = status;
  // One that cannot start at all has said why; one that was killed has not.
  ending_ = ending_ || (!ever_ready_ && (status < kKilled || ++killed_starts_ >= kFirstStarts));
  if (ending_) return true;
  if (std::exchange(handing_over_, false)) {
    current_ = launch();
    log_info("{}process {} has taken over", called(), current_);
    return true;
  }
  on_death(process, status);
  return true;
}

void SupervisedPart::on_death(pid_t process, int status) {
  const TimePoint now = system_clock().now();
  const bool soon = now - started_ < kShortLife;
  pause_ = soon ? std::clamp(pause_ * 2, kFirstPause, kLongestPause) : Duration::zero();
  start_at_ = now + pause_;
  log_error("{}process {} died with status {}; another follows", called(), process, status);
  look_after();
}

void SupervisedPart::look_after() {
  const TimePoint now = system_clock().now();
  if (next_ > 0 && now > next_until_) {
    log_error("{}the new process {} is not ready in time; the one before stays", called(), next_);
    ::kill(next_, SIGKILL);
  }
  if (begun_ && current_ == 0 && !ending_ && now >= start_at_) current_ = launch();
}

std::vector<pid_t> SupervisedPart::all() const {
  std::vector<pid_t> out = leaving_;
  if (current_ > 0) out.push_back(current_);
  if (next_ > 0) out.push_back(next_);
  return out;
}

std::string SupervisedPart::called() const {
  return options_.name.empty() ? std::string() : options_.name + ": ";
}

}  // namespace sluice::cli
