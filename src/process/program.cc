#include "process/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "net/socket.h"

namespace sluice::process {
namespace {

constexpr int kFirstInherited = 3;  // sd_listen_fds(3)
constexpr int kLowestFree = 10;     // descriptors of ours go above, out of the way

// Variables of the machine rather than of the platform. Those of the platform itself (SLUICE_…)
// would change what a replica does, or tell it secrets.
constexpr std::array<std::string_view, 24> kPassedOn = {"PATH",
                                                        "HOME",
                                                        "USER",
                                                        "LOGNAME",
                                                        "LANG",
                                                        "LANGUAGE",
                                                        "TZ",
                                                        "TMPDIR",
                                                        "SSL_CERT_FILE",
                                                        "SSL_CERT_DIR",
                                                        "HTTP_PROXY",
                                                        "HTTPS_PROXY",
                                                        "NO_PROXY",
                                                        "http_proxy",
                                                        "https_proxy",
                                                        "no_proxy",
                                                        "LD_LIBRARY_PATH",
                                                        "HF_HOME",
                                                        "XDG_CACHE_HOME",
                                                        "CUDA_VISIBLE_DEVICES",
                                                        "HIP_VISIBLE_DEVICES",
                                                        "ASAN_OPTIONS",
                                                        "TSAN_OPTIONS",
                                                        "UBSAN_OPTIONS"};

bool is_passed_on(std::string_view variable) {
  const std::string_view name = variable.substr(0, variable.find('='));
  return name.starts_with("LC_") || std::ranges::find(kPassedOn, name) != kPassedOn.end();
}

// What failed in the child before the program ran there.
enum class Step { kFolder, kGroup, kExec };
struct Failure {
  Step step = Step::kExec;
  int error = 0;
};

[[noreturn]] void give_up(int pipe, Step step, int error) {
  const Failure failure{step, error};
  static_cast<void>(!::write(pipe, &failure, sizeof(failure)));
  std::_Exit(127);
}

void set_limit(int resource, uint64_t value) {
  rlimit limit{};
  // Of the two limits only the soft one, unless that is above the hard one.
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(value, limit.rlim_max);
  ::setrlimit(static_cast<__rlimit_resource>(resource), &limit);
}

// Between fork() and exec(); the keeper has one thread, so all is allowed.
[[noreturn]] void become(const ProgramStart& start, const std::string& file, char** arguments,
                         char** environment, int failures, pid_t keeper) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != keeper) std::_Exit(127);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  if (!start.group.enter()) give_up(failures, Step::kGroup, errno);
  if (!start.processors.empty()) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int each : start.processors) CPU_SET(static_cast<size_t>(each), &set);
    ::sched_setaffinity(0, sizeof(set), &set);
  }
  set_limit(RLIMIT_CORE, 0);  // as large as the model, and nobody clears them away
  if (start.data_limit > 0) set_limit(RLIMIT_DATA, start.data_limit);
  if (::chdir(start.folder.c_str()) != 0) give_up(failures, Step::kFolder, errno);
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
  ::dup2(start.output, STDOUT_FILENO);
  ::dup2(start.output, STDERR_FILENO);
  if (start.listener >= 0) {
    ::dup2(start.listener, kFirstInherited);  // without close-on-exec
  } else {
    ::close(kFirstInherited);
  }
  ::close_range(kFirstInherited + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(file.c_str(), arguments, environment);
  give_up(failures, Step::kExec, errno);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (std::string& each : texts) out.push_back(each.data());
  out.push_back(nullptr);
  return out;
}

// The same open file under a number that no handed descriptor is put over.
net::Fd above(int fd) { return net::Fd(::fcntl(fd, F_DUPFD_CLOEXEC, kLowestFree)); }

Status failure_text(const Failure& failure, const std::string& file, const ProgramStart& start) {
  switch (failure.step) {
    case Step::kFolder:
      return {Code::kUnavailable,
              net::errno_text("cannot run in the folder " + start.folder.string(), failure.error)};
    case Step::kGroup:
      return {Code::kUnavailable, net::errno_text("cannot enter its control group", failure.error)};
    case Step::kExec:
      break;
  }
  if (failure.error == ENOEXEC) {
    return {Code::kInvalidArgument,
            fmt::format("{} is no program for this machine: expected a binary for it, or a script "
                        "whose first line names its interpreter (#!/bin/sh)",
                        file)};
  }
  if (failure.error == ENOENT) {
    return {Code::kInvalidArgument,
            fmt::format("{} names an interpreter or loader that is not there", file)};
  }
  return {Code::kInvalidArgument, net::errno_text("cannot run " + file, failure.error)};
}

}  // namespace

std::string with_port(const std::string& text, uint16_t port) {
  constexpr std::string_view kMark = "$(PORT)";
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    if (rest.starts_with("$$(PORT)")) {
      out += kMark;
      at += kMark.size() + 1;
    } else if (rest.starts_with(kMark)) {
      out += std::to_string(port);
      at += kMark.size();
    } else {
      out += text[at++];
    }
  }
  return out;
}

std::vector<std::string> program_environment(const ProgramStart& start, char** own) {
  std::vector<std::string> out = {fmt::format("{}={}", kTokenVariable, start.token)};
  const auto set = [&out](std::string_view name, const std::string& value) {
    const std::string prefix = fmt::format("{}=", name);
    std::erase_if(out, [&](const std::string& each) { return each.starts_with(prefix); });
    out.push_back(prefix + value);
  };
  for (char** each = own; each != nullptr && *each != nullptr; ++each) {
    if (is_passed_on(*each)) out.emplace_back(*each);
  }
  set("PORT", std::to_string(start.port));
  set("SLUICE_REPLICA", start.spec.id);
  for (const auto& [name, value] : start.spec.environment) {
    if (name != kTokenVariable) set(name, with_port(value, start.port));
  }
  return out;
}

Result<std::string> find_program(const std::string& name,
                                 const std::vector<std::string>& environment) {
  std::string path = "/usr/local/bin:/usr/bin:/bin";
  for (const std::string& each : environment) {
    if (each.starts_with("PATH=")) path = each.substr(5);
  }
  std::vector<std::string> candidates;
  if (name.contains('/')) {
    candidates.push_back(name);
  } else {
    for (size_t at = 0; at <= path.size();) {
      const size_t end = std::min(path.find(':', at), path.size());
      if (end > at) candidates.push_back(path.substr(at, end - at) + "/" + name);
      at = end + 1;
    }
  }
  std::string denied;
  for (const std::string& each : candidates) {
    struct stat info{};
    if (::stat(each.c_str(), &info) != 0) continue;
    if (S_ISREG(info.st_mode) && ::access(each.c_str(), X_OK) == 0) return each;
    if (denied.empty()) denied = each;
  }
  if (!denied.empty()) {
    return fail(Code::kInvalidArgument,
                fmt::format("{} is no program that may be executed: expected a file with execute "
                            "permission (chmod +x)",
                            denied));
  }
  return fail(
      Code::kInvalidArgument,
      name.contains('/')
          ? fmt::format("there is no program {}", name)
          : fmt::format("there is no program '{}' in PATH ({}); give its whole path", name, path));
}

Result<pid_t> start_program(const ProgramStart& start) {
  std::vector<std::string> environment = program_environment(start, environ);
  SLUICE_ASSIGN_OR_RETURN(const std::string file, find_program(start.spec.command[0], environment));
  std::vector<std::string> command;
  command.reserve(start.spec.command.size());
  for (const std::string& each : start.spec.command) {
    command.push_back(with_port(each, start.port));
  }
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(Code::kUnavailable, net::errno_text("pipe", errno));
  }
  const net::Fd told(ends[0]);
  net::Fd failures = above(ends[1]);
  ::close(ends[1]);
  const net::Fd output = above(start.output);
  const net::Fd listener = start.listener >= 0 ? above(start.listener) : net::Fd();
  ProgramStart moved = start;
  moved.output = output.get();
  moved.listener = listener.get();
  const size_t pid_at = environment.size();
  if (start.listener >= 0) {
    environment.emplace_back("LISTEN_FDS=1");
    environment.emplace_back("LISTEN_PID=");
  }
  auto arguments = pointers(command);
  const pid_t keeper = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    // Only the child knows its number.
    if (start.listener >= 0) environment[pid_at + 1] += std::to_string(::getpid());
    become(moved, file, arguments.data(), pointers(environment).data(), failures.get(), keeper);
  }
  if (child < 0) return fail(Code::kUnavailable, net::errno_text("fork", errno));
  failures.reset();
  Failure failure;
  ssize_t got = 0;
  while ((got = ::read(told.get(), &failure, sizeof(failure))) < 0 && errno == EINTR) {
  }
  if (got != static_cast<ssize_t>(sizeof(failure))) return child;
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return std::unexpected(failure_text(failure, file, start));
}

}  // namespace sluice::process
