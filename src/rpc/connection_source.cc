#include "rpc/connection_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace sluice::rpc {
namespace {

constexpr int kRestMs = 50;  // when there are no descriptors for another connection

}  // namespace

Result<std::unique_ptr<ConnectionSource>> ConnectionSource::start(int listener, Take take) {
  const int flags = ::fcntl(listener, F_GETFL);
  const int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0 || flags < 0 || ::fcntl(listener, F_SETFL, flags | O_NONBLOCK) != 0) {
    const int error = errno;
    if (wake >= 0) ::close(wake);
    return fail(Code::kUnavailable,
                fmt::format("the handed socket cannot be used for gRPC: {}", std::strerror(error)));
  }
  std::unique_ptr<ConnectionSource> made(new ConnectionSource(listener, wake, std::move(take)));
  made->thread_ = std::thread([self = made.get()] { self->run(); });
  return made;
}

ConnectionSource::ConnectionSource(int listener, int wake, Take take)
    : listener_(listener), wake_(wake), take_(std::move(take)) {}

ConnectionSource::~ConnectionSource() {
  end();
  ::close(wake_);
  ::close(listener_);
}

void ConnectionSource::end() {
  const std::lock_guard lock(ending_);
  if (!thread_.joinable()) return;
  constexpr uint64_t kOne = 1;
  if (::write(wake_, &kOne, sizeof(kOne)) < 0) log_warn("gRPC: {}", std::strerror(errno));
  thread_.join();
}

void ConnectionSource::run() {
  while (wait()) accept_all();
}

// For somebody who connects. False: it is over.
bool ConnectionSource::wait() const {
  std::array<pollfd, 2> waiting = {pollfd{.fd = wake_, .events = POLLIN, .revents = 0},
                                   pollfd{.fd = listener_, .events = POLLIN, .revents = 0}};
  while (::poll(waiting.data(), waiting.size(), -1) < 0 && errno == EINTR) {
  }
  return waiting[0].revents == 0;
}

void ConnectionSource::accept_all() {
  while (true) {
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= 0) {
      const int on = 1;
      ::setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      take_(listener_, connection);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) return;
    pollfd over{.fd = wake_, .events = POLLIN, .revents = 0};
    ::poll(&over, 1, kRestMs);
    return;
  }
}

}  // namespace sluice::rpc
