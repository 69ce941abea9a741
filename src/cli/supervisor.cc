#include "cli/supervisor.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "cli/signals.h"
#include "cli/supervised_part.h"

namespace sluice::cli {
namespace {

constexpr auto kLook = std::chrono::milliseconds(50);

void on_signal(SupervisedPart& part, int signal) {
  if (signal == SIGTERM || signal == SIGINT) {
    part.end(signal);
  } else if (signal == SIGHUP || signal == SIGUSR1) {
    part.pass_on(signal);
  } else if (signal == SIGUSR2) {
    part.upgrade();
  }
}

}  // namespace

int exit_status(int how) { return WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how); }

int run_supervised(const SupervisorOptions& options) {
  auto file = own_program();
  auto listeners = listen_for(options.host, options.port, options.grpc_port);
  auto notify = NotifySocket::open();
  if (!file || !listeners || !notify) {
    log_error("{}", !file        ? file.error().message()
                    : !listeners ? listeners.error().message()
                                 : notify.error().message());
    return 1;
  }
  const Signals signals(Signals::kSupervising);
  SupervisedPart part({.name = {}, .command = options.command}, *std::move(file),
                      *std::move(listeners), notify->name());
  part.start();
  while (!part.ended()) {
    on_signal(part, signals.wait_for(kLook));
    const bool first = !part.ever_ready();
    while (const auto ready = notify->next_ready()) part.on_ready(*ready);
    if (first && part.ever_ready()) notify_ready();  // systemd's, where it started this process
    int how = 0;
    for (pid_t process = 0; (process = ::waitpid(-1, &how, WNOHANG)) > 0;) {
      part.on_exit(process, exit_status(how));
    }
    part.look_after();
  }
  return part.status();
}

std::vector<int> take_inherited_sockets(int most) {
  const char* count = std::getenv("LISTEN_FDS");
  const char* process = std::getenv("LISTEN_PID");
  const bool ours = count != nullptr && process != nullptr && process == std::to_string(::getpid());
  int handed = 0;
  if (ours) std::from_chars(count, count + std::strlen(count), handed);
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_PID");
  std::vector<int> out;
  for (int i = 0; i < handed && handed <= most; ++i) {
    ::fcntl(kFirstInherited + i, F_SETFD, FD_CLOEXEC);
    out.push_back(kFirstInherited + i);
  }
  return out;
}

std::optional<int> take_inherited_socket() {
  const std::vector<int> taken = take_inherited_sockets(1);
  return taken.empty() ? std::nullopt : std::optional(taken.front());
}

Result<std::vector<net::Fd>> listen_for(const std::string& host, uint16_t port, int grpc_port) {
  std::vector<net::Fd> out;
  SLUICE_ASSIGN_OR_RETURN(net::Fd http, net::listen_on(host, port));
  out.push_back(std::move(http));
  if (grpc_port < 0) return out;
  SLUICE_ASSIGN_OR_RETURN(net::Fd grpc, net::listen_on(host, static_cast<uint16_t>(grpc_port)));
  out.push_back(std::move(grpc));
  return out;
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
  if (!socket.valid()) return;
  constexpr std::string_view kReady = "READY=1";
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  ::sendto(socket.get(), kReady.data(), kReady.size(), MSG_NOSIGNAL,
           reinterpret_cast<const sockaddr*>(&address), size);
}

}  // namespace sluice::cli
