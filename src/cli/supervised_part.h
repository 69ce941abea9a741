// SupervisedPart: one serving process that is kept alive, and its successors. The notification
// socket by which processes say that they are ready.
//
// No threads: everything is called by the one loop of a supervisor, which forks.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "net/socket.h"

namespace sluice::cli {

// The first descriptor that is handed over (sd_listen_fds(3)).
inline constexpr int kFirstInherited = 3;

// Where processes say that they are ready (sd_notify(3)).
class NotifySocket {
 public:
  static Result<NotifySocket> open();

  const std::string& name() const { return name_; }
  // The process that said so; the kernel vouches for its number. Nothing: none has.
  std::optional<pid_t> next_ready();

 private:
  net::Fd socket_;
  std::string name_;
};

// How the next process takes the place of the one before.
enum class TakeOver {
  kBeside,  // it starts, and the one before drains once it is ready
  kAfter,   // the one before ends first; connections wait in the socket meanwhile
};

struct PartOptions {
  std::string name;                  // for the log; may be empty
  std::vector<std::string> command;  // from argv[0]; the file is this process's own
  TakeOver take_over = TakeOver::kBeside;
  int leave_signal = SIGTERM;  // asks a process to make room for the next
};

class SupervisedPart {
 public:
  // `file` is the program; `listeners` the sockets that its processes are handed, one at least.
  SupervisedPart(PartOptions options, std::string file, std::vector<net::Fd> listeners,
                 std::string notify_name);

  void start();
  // A new process from the program's file, which may be a newer one.
  void upgrade();
  void pass_on(int signal);  // to the one that serves
  // From here on none follows; `signal` goes to all there are.
  void end(int signal);
  void kill_all(int signal);

  // False: the process is none of this part's.
  bool on_ready(pid_t process);
  bool on_exit(pid_t process, int status);
  // What is due: restarts, upgrades that take too long. Called several times a second.
  void look_after();

  bool idle() const { return current_ == 0 && next_ == 0 && leaving_.empty(); }
  bool ended() const { return ending_ && idle(); }
  // One has said that it serves.
  bool ever_ready() const { return ever_ready_; }
  // The first process ended before it was ready, and has said why: no other is tried. (Several are
  // when it is killed.)
  bool could_not_start() const { return ending_ && !ever_ready_; }
  int status() const { return status_; }  // of the last process
  uint16_t port() const { return port_; }

 private:
  pid_t launch();
  void on_death(pid_t process, int status);
  std::vector<pid_t> all() const;
  std::string called() const;

  const PartOptions options_;
  const std::string file_;
  std::vector<net::Fd> listeners_;  // none once it is to end
  const uint16_t port_;
  const std::string notify_name_;
  pid_t current_ = 0;  // 0: none
  pid_t next_ = 0;     // takes over when it is ready
  std::vector<pid_t> leaving_;
  TimePoint started_{};
  TimePoint next_until_{};
  TimePoint start_at_{};
  Duration pause_{};
  bool begun_ = false;
  bool handing_over_ = false;  // the current one was asked to make room
  bool ever_ready_ = false;
  bool ending_ = false;
  int killed_starts_ = 0;  // before one was ready
  int status_ = 0;
};

// This process's program. Now, while the link names the file: a new version is renamed over it.
Result<std::string> own_program();

}  // namespace sluice::cli
