#include "process/spawn_keeper.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>

#include "process/folder.h"

namespace sluice::process {
namespace {

constexpr int kLockDescriptor = 3;

// What the child does before it is the keeper. Freed with it.
class SpawnPlan {
 public:
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void descriptors(const std::string& log, int lock) {
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, lock, kLockDescriptor);
    ::posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, log.c_str(),
                                       O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::posix_spawn_file_actions_adddup2(&actions_, STDERR_FILENO, STDOUT_FILENO);
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, kLockDescriptor + 1);
  }

  // Signals wait for the keeper until it reads them: one that comes while it is being loaded must
  // not end it.
  void signals() {
    sigset_t blocked;
    sigset_t defaults;
    sigemptyset(&blocked);
    for (const int each : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) sigaddset(&blocked, each);
    sigfillset(&defaults);
    ::posix_spawnattr_setsigmask(&attributes_, &blocked);
    ::posix_spawnattr_setsigdefault(&attributes_, &defaults);
    ::posix_spawnattr_setflags(
        &attributes_,
        static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID));
  }

  int run(pid_t* child, char** arguments) {
    return ::posix_spawn(child, arguments[0], &actions_, &attributes_, arguments, environ);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

Result<net::Fd> spawn_keeper(const std::filesystem::path& program,
                             const std::filesystem::path& folder, const net::Fd& lock) {
  std::array<std::string, 5> words = {program.string(), "keep", folder.string(), "--lock",
                                      std::to_string(kLockDescriptor)};
  std::array<char*, 6> arguments = {words[0].data(), words[1].data(), words[2].data(),
                                    words[3].data(), words[4].data(), nullptr};
  SpawnPlan plan;
  plan.descriptors((folder / kKeeperLogFile).string(), lock.get());
  plan.signals();
  pid_t child = 0;
  if (const int error = plan.run(&child, arguments.data()); error != 0) {
    return fail(Code::kUnavailable,
                net::errno_text("cannot start " + program.string() + " keep", error));
  }
  // Nobody else reaps it, so the number is its own.
  net::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  if (process.valid()) return process;
  const int error = errno;
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return fail(Code::kUnavailable, net::errno_text("pidfd_open", error));
}

}  // namespace sluice::process
