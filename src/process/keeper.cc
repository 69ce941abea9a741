#include "process/keeper.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory_info.h"
#include "net/socket.h"
#include "process/control_group.h"
#include "process/folder.h"
#include "process/keeper_order.h"
#include "process/log_writer.h"
#include "process/memory_verdict.h"
#include "process/ports.h"
#include "process/proc_info.h"
#include "process/program.h"
#include "process/records.h"

namespace sluice::process {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr size_t kRecordRoom = 16u << 10;
constexpr Duration kMemoryLook = milliseconds(50);
constexpr Duration kStateRetry = seconds(1);
constexpr Duration kSweepLook = milliseconds(20);
constexpr Duration kSweepPatience = seconds(10);  // for processes that the kernel does not let go
constexpr Duration kSettled = seconds(1);         // what a start has used is not needed any more
constexpr uint64_t kDataSlack = uint64_t{1} << 30;
constexpr int kReadsPerRound = 16;
constexpr size_t kReadBytes = 16u << 10;

sigset_t our_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int each : {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGCHLD}) sigaddset(&set, each);
  return set;
}

// A descriptor that is the lock of that folder.
bool is_lock_of(int fd, const fs::path& folder) {
  struct stat held{};
  struct stat wanted{};
  return ::fstat(fd, &held) == 0 && ::stat((folder / kLockFile).c_str(), &wanted) == 0 &&
         held.st_ino == wanted.st_ino && held.st_dev == wanted.st_dev;
}

// As many processors as hold the limit, of those that this process may use, not the same for all
// replicas. Empty: all of them.
std::vector<int> choose_processors(double cpus, const std::string& token) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> all;
  if (cpus <= 0 || ::sched_getaffinity(0, sizeof(set), &set) != 0) return all;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(static_cast<size_t>(i), &set)) all.push_back(i);
  }
  const double wanted = std::ceil(cpus);
  if (wanted >= static_cast<double>(all.size())) return {};
  const size_t first = std::hash<std::string>()(token) % all.size();
  std::ranges::rotate(all, all.begin() + static_cast<ptrdiff_t>(first));
  all.resize(static_cast<size_t>(wanted));
  return all;
}

class Keeper {
 public:
  Keeper(fs::path folder, net::Fd lock, net::Fd signals)
      : folder_(std::move(folder)), lock_(std::move(lock)), signals_(std::move(signals)) {}

  int run();

 private:
  Outcome reserve();
  Outcome begin();
  Outcome launch(const ProgramStart& start);
  void write_state();
  void rewrite_files();

  void wait_and_handle();
  int wait_milliseconds() const;
  void on_signal(int signal);
  void take_end_order();
  void reap();
  void look_at_time();
  void look_at_memory();
  bool read_output(int most);
  void kill_all();
  void sweep();
  void finish(ReplicaEnd end);
  ReplicaEnd judge() const;
  MemoryVerdict memory_verdict() const;

  const fs::path folder_;
  const net::Fd lock_;
  const net::Fd signals_;
  std::optional<ReservedRecord> exit_;
  std::optional<ReservedRecord> first_state_;
  KeeperOrder order_;
  ReplicaGroup group_;
  std::optional<LogWriter> log_;
  net::Fd output_;
  net::Fd port_promise_;
  ReplicaState state_;
  bool state_written_ = false;
  pid_t program_ = 0;
  bool ended_ = false;
  int how_ = 0;  // as waitpid() tells it
  EndOrder end_order_;
  bool asked_ = false;    // to end
  bool overran_ = false;  // its grace
  bool out_of_memory_ = false;
  ReplicaGroup surroundings_;  // the group that this process was started in
  uint64_t kills_before_ = 0;  // of the kernel there, for want of memory
  uint64_t memory_ = 0;        // at the last look
  uint64_t memory_growth_ = 0;
  TimePoint kill_at_ = TimePoint::max();
  TimePoint memory_at_ = TimePoint::max();
  TimePoint state_at_ = TimePoint::max();
  TimePoint settled_at_ = TimePoint::max();
};

int Keeper::run() {
  // An earlier keeper's replica has ended for good: a start has a folder of its own.
  if (std::error_code error; fs::exists(folder_ / kExitFile, error)) {
    log_error("{}: this replica has run already", folder_.string());
    return 1;
  }
  const auto reserved = reserve();
  if (!reserved) {
    log_error("{}", reserved.error().message());
    return 1;
  }
  if (const auto begun = begin(); !begun) {
    log_error("{}", begun.error().message());
    finish({.reason = std::string(kCannotStart), .message = begun.error().message()});
    return 0;
  }
  while (!ended_) wait_and_handle();
  sweep();
  finish(judge());
  return 0;
}

Outcome Keeper::reserve() {
  SLUICE_ASSIGN_OR_RETURN(exit_, ReservedRecord::reserve(folder_ / kExitFile, kRecordRoom));
  SLUICE_ASSIGN_OR_RETURN(first_state_, ReservedRecord::reserve(folder_ / kStateFile, kRecordRoom));
  return {};
}

Outcome Keeper::begin() {
  SLUICE_ASSIGN_OR_RETURN(const std::string text, read_file(folder_ / kSpecFile, kMaxOrderBytes));
  auto order = parse_order(text);
  if (!order) return std::unexpected(order.error().at((folder_ / kSpecFile).string()));
  order_ = *std::move(order);
  log_.emplace(folder_, order_.logs, system_clock().now());
  const ReplicaSpec& spec = order_.spec;

  net::Fd listener;
  if (spec.takes_socket) {
    SLUICE_ASSIGN_OR_RETURN(listener, net::listen_on("127.0.0.1", 0));
    // Programs that take a socket expect it as systemd makes it.
    ::fcntl(listener.get(), F_SETFL, ::fcntl(listener.get(), F_GETFL) & ~O_NONBLOCK);
    state_.port = net::local_port(listener.get());
  } else {
    SLUICE_ASSIGN_OR_RETURN(ReservedPort port, reserve_port());
    state_.port = port.port;
    port_promise_ = std::move(port.promise);
  }
  fs::path working = spec.working_folder;
  if (working.empty()) {
    working = folder_ / kWorkFolder;
    if (::mkdir(working.c_str(), 0700) != 0 && errno != EEXIST) {
      return fail(Code::kUnavailable, net::errno_text("cannot create " + working.string(), errno));
    }
  }
  const ControlGroups groups = ControlGroups::of_this_process();
  if (!groups.memory.empty()) surroundings_ = ReplicaGroup::of_folders({groups.memory.string()});
  kills_before_ = surroundings_.out_of_memory_kills_here();
  if (order_.control_groups && (spec.memory_bytes > 0 || spec.cpus > 0)) {
    group_ = ReplicaGroup::create(groups, "sluice-" + order_.token, spec.memory_bytes, spec.cpus);
  }
  ProgramStart start{.spec = spec,
                     .token = order_.token,
                     .folder = working,
                     .port = state_.port,
                     .listener = listener.get(),
                     .group = group_};
  if (!group_.limits_cpu()) start.processors = choose_processors(spec.cpus, order_.token);
  const bool watched = spec.memory_bytes > 0 && !group_.limits_memory();
  if (watched) start.data_limit = 2 * spec.memory_bytes + kDataSlack;
  state_.memory_limit = group_.limits_memory() ? "cgroup" : watched ? "watchdog" : "none";
  state_.cpu_limit = group_.limits_cpu()         ? "cgroup"
                     : !start.processors.empty() ? "affinity"
                                                 : "none";
  const auto launched = launch(start);
  if (!launched) group_.remove();
  return launched;
}

Outcome Keeper::launch(const ProgramStart& start) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(Code::kUnavailable, net::errno_text("pipe", errno));
  }
  output_ = net::Fd(ends[0]);
  const net::Fd writing(ends[1]);
  net::set_non_blocking(output_.get());
  ProgramStart with_output = start;
  with_output.output = writing.get();
  SLUICE_ASSIGN_OR_RETURN(program_, start_program(with_output));
  state_.token = order_.token;
  state_.boot = boot_id();
  state_.keeper = name_process(::getpid());
  state_.program = name_process(program_);
  state_.started_unix = system_clock().unix_seconds();
  state_.control_groups = group_.folders();
  write_state();
  if (state_.memory_limit == "watchdog") memory_at_ = system_clock().now();
  settled_at_ = system_clock().now() + kSettled;
  return {};
}

void Keeper::write_state() {
  const std::string text = record_text(state_);
  const Outcome written = first_state_ ? std::exchange(first_state_, std::nullopt)->write(text)
                                       : write_record(folder_ / kStateFile, text);
  if (!written && state_at_ == TimePoint::max()) {
    log_error("{}; it is tried again each second", written.error().message());
  }
  state_written_ = written.has_value();
  state_at_ = written ? TimePoint::max() : system_clock().now() + kStateRetry;
}

void Keeper::rewrite_files() {
  if (const auto written = write_record(folder_ / kSpecFile, order_text(order_)); !written) {
    log_error("{}", written.error().message());
  }
  write_state();
}

int Keeper::wait_milliseconds() const {
  const TimePoint next = std::min({kill_at_, memory_at_, state_at_, settled_at_});
  if (next == TimePoint::max()) return -1;
  const auto left = std::chrono::ceil<milliseconds>(next - system_clock().now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 60'000));
}

void Keeper::wait_and_handle() {
  std::array<pollfd, 2> waiting = {pollfd{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                                   pollfd{.fd = output_.get(), .events = POLLIN, .revents = 0}};
  ::poll(waiting.data(), output_.valid() ? 2 : 1, wait_milliseconds());
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    on_signal(static_cast<int>(info.ssi_signo));
  }
  // A bounded portion: whoever writes without end must not keep signals waiting.
  if (output_.valid() && waiting[1].revents != 0 && !read_output(kReadsPerRound)) output_.reset();
  look_at_time();
}

void Keeper::on_signal(int signal) {
  switch (signal) {
    case SIGTERM:
    case SIGINT:
      take_end_order();
      if (std::exchange(asked_, true)) break;
      kill_at_ = system_clock().now() + end_order_.grace.value_or(order_.spec.grace);
      if (!ended_) ::kill(program_, SIGTERM);  // reaped, its number may be another's
      break;
    case SIGUSR1:
      take_end_order();
      asked_ = true;
      kill_all();
      break;
    case SIGHUP:
      rewrite_files();
      break;
    case SIGCHLD:
      reap();
      break;
    default:
      break;
  }
}

void Keeper::take_end_order() {
  const auto text = read_file(folder_ / kEndFile, kMaxRecordBytes);
  if (!text) return;
  auto order = parse_end_order(*text);
  if (order) {
    end_order_ = *std::move(order);
  } else {
    log_warn("{}: {}", (folder_ / kEndFile).string(), order.error().message());
  }
}

void Keeper::reap() {
  int how = 0;
  for (pid_t process = 0; (process = ::waitpid(-1, &how, WNOHANG)) > 0;) {
    if (process != program_) continue;
    ended_ = true;
    how_ = how;
  }
}

void Keeper::look_at_time() {
  const TimePoint now = system_clock().now();
  if (now >= memory_at_) look_at_memory();
  if (now >= state_at_) write_state();
  if (now >= settled_at_) {
    settled_at_ = TimePoint::max();
    give_back_start_pages();
  }
  if (now < kill_at_ || ended_) return;
  kill_at_ = TimePoint::max();
  overran_ = true;
  log_->note("it had not ended when its grace was over, and is killed");
  kill_all();
}

void Keeper::look_at_memory() {
  memory_at_ = system_clock().now() + kMemoryLook;
  uint64_t together = 0;
  for (const int64_t pid : process_tree(program_)) together += private_memory(pid);
  if (together > 0) {  // nothing is told of a program that has ended just now
    memory_growth_ = together - std::min(together, memory_);
    memory_ = together;
  }
  if (together <= order_.spec.memory_bytes || out_of_memory_) return;
  out_of_memory_ = true;
  log_->note(fmt::format("it has {} bytes of memory, {} were allowed: it is killed", together,
                         order_.spec.memory_bytes));
  kill_all();
}

// False at the end of all that could write there.
bool Keeper::read_output(int most) {
  std::array<char, kReadBytes> bytes;
  for (int i = 0; i < most; ++i) {
    const ssize_t got = ::read(output_.get(), bytes.data(), bytes.size());
    if (got == 0) return false;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN;
    log_->write({bytes.data(), static_cast<size_t>(got)}, system_clock().now());
  }
  return true;
}

// The program, its group, and all below this process: what has another group, or lost its parent
// and came to us.
void Keeper::kill_all() {
  if (!ended_) {
    ::kill(program_, SIGKILL);
    ::kill(-program_, SIGKILL);
  }
  for (const int64_t pid : process_tree(::getpid())) {
    if (pid != ::getpid()) ::kill(static_cast<pid_t>(pid), SIGKILL);
  }
}

// The program has ended; what it started ends with it.
void Keeper::sweep() {
  const TimePoint until = system_clock().now() + kSweepPatience;
  while (system_clock().now() < until) {
    kill_all();
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    const bool alone = ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD;
    while (output_.valid() && !alone && read_output(1)) {
      pollfd more{.fd = output_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&more, 1, 0) <= 0) break;
    }
    if (alone) break;
    pollfd child{.fd = signals_.get(), .events = POLLIN, .revents = 0};
    ::poll(&child, 1, static_cast<int>(kSweepLook / milliseconds(1)));
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof(info)) > 0) {
    }
  }
  // What is still in the pipe; nobody is left who could add to it.
  for (int i = 0; i < 64 && output_.valid(); ++i) {
    pollfd more{.fd = output_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&more, 1, 0) <= 0 || !read_output(kReadsPerRound)) break;
  }
}

MemoryVerdict Keeper::memory_verdict() const {
  const uint64_t around = surroundings_.out_of_memory_kills_here();
  return judge_memory({.killed = WIFSIGNALED(how_) && WTERMSIG(how_) == SIGKILL,
                       .asked = asked_,
                       .over_limit = out_of_memory_,
                       .watched = state_.memory_limit == "watchdog",
                       .limit = order_.spec.memory_bytes,
                       .memory = memory_,
                       .growth = memory_growth_,
                       .own_kills = group_.out_of_memory_kills(),
                       .kills_around = around - std::min(around, kills_before_)});
}

ReplicaEnd Keeper::judge() const {
  ReplicaEnd end;
  end.code = WIFEXITED(how_) ? WEXITSTATUS(how_) : 0;
  end.signal = WIFSIGNALED(how_) ? WTERMSIG(how_) : 0;
  const bool done = end.code == 0 && end.signal == 0;
  const bool as_told = asked_ && !overran_ && (end.signal == SIGTERM || end.code == 128 + SIGTERM);
  const MemoryVerdict memory = memory_verdict();
  std::string why = memory.why;
  if (memory.out_of_memory) {
    end.reason = kOutOfMemory;
  } else if (!end_order_.reason.empty()) {
    end.reason = end_order_.reason;
    why = end_order_.message;
  } else if (done || as_told) {
    end.reason = kCompleted;
    return end;
  } else {
    end.reason = kError;
    if (overran_) why = "killed: it had not ended when its grace was over";
    if (why.empty()) why = end_order_.message;
  }
  std::string_view lines = log_->tail();
  constexpr size_t kMostOfTail = 2048;
  if (lines.size() > kMostOfTail) lines.remove_prefix(lines.size() - kMostOfTail);
  end.message = readable_tail(why.empty() ? std::string(lines) : fmt::format("{}\n{}", why, lines));
  return end;
}

void Keeper::finish(ReplicaEnd end) {
  if (log_) log_->finish();
  group_.remove();
  end.token = order_.token;
  end.at_unix = system_clock().unix_seconds();
  end.message = readable_tail(end.message);
  if (const auto written = exit_->write(record_text(end)); !written) {
    log_error("{}", written.error().message());
  }
}

}  // namespace

int run_keeper(const KeeperOptions& options) {
  net::Fd lock(options.lock);
  if (options.lock >= 0 && !is_lock_of(options.lock, options.folder)) {
    log_error("descriptor {} is not the lock of {}", options.lock, options.folder.string());
    return 1;
  }
  if (options.lock < 0) {
    auto taken = lock_folder(options.folder);
    if (!taken || !*taken) {
      log_error("{}", !taken ? taken.error().message()
                             : options.folder.string() + ": another keeper has this folder");
      return 1;
    }
    lock = **std::move(taken);
  }
  ::fcntl(lock.get(), F_SETFD, FD_CLOEXEC);
  // What the caller had open is none of a replica's.
  if (lock.get() > STDERR_FILENO + 1) {
    ::close_range(STDERR_FILENO + 1, static_cast<unsigned>(lock.get()) - 1, 0);
  }
  ::close_range(static_cast<unsigned>(lock.get()) + 1, ~0U, 0);
  const sigset_t set = our_signals();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  for (const int each : {SIGPIPE, SIGXFSZ}) ::signal(each, SIG_IGN);  // writes fail instead
  ::setsid();  // fails when it is one's own already
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  net::Fd signals(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals.valid()) {
    log_error("{}", net::errno_text("signalfd", errno));
    return 1;
  }
  const fs::path folder = fs::absolute(options.folder);
  return Keeper(folder, std::move(lock), std::move(signals)).run();
}

}  // namespace sluice::process
