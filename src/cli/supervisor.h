// Supervisor: keeps one serving process alive, and hands its listening socket from one to the next.
//
// The socket belongs to the supervisor. A process that dies is followed by another at once, and
// clients that connect meanwhile wait in the socket's queue. A newer process takes over while the
// one before answers what it has begun:
//
//   SIGUSR2           start a new process from the file of this one; when it is ready, drain the
//   old SIGHUP, SIGUSR1   passed on: the configuration is taken anew; the end is near SIGTERM,
//   SIGINT   passed on; ends when the last process has ended; a second one is passed on too
//
// Towards the processes it speaks systemd's protocols, so that they work under systemd as well:
// sd_listen_fds(3) for the socket, sd_notify(3) for their readiness.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "net/socket.h"

namespace sluice::cli {

struct SupervisorOptions {
  std::vector<std::string> command;  // of a process, from argv[0]; the file is this process's own
  std::string host;
  uint16_t port = 0;
  int grpc_port = -1;  // its socket is the second that is handed over; below 0: none
};

// Until all processes have ended; the exit status of the last one. To be called before any thread
// is made.
int run_supervised(const SupervisorOptions& options);

// What waitpid() told, as a shell has it: 128 + the signal of one that was killed.
int exit_status(int how);

// The listening socket that a supervisor, or systemd, has handed to this process; once. The
// caller owns it.
std::optional<int> take_inherited_socket();
// The same of several; at most `most` are taken, none when there are more.
std::vector<int> take_inherited_sockets(int most);

// The sockets of a process that serves HTTP, and gRPC unless that port is below 0.
Result<std::vector<net::Fd>> listen_for(const std::string& host, uint16_t port, int grpc_port);

// Tells a supervisor, or systemd, that requests would be answered now. Without one: nothing.
void notify_ready();

}  // namespace sluice::cli
