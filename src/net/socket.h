// Sockets below the event loop: an owned descriptor, listening, connecting, peer names.
//
// Thin over the system calls; everything made here is non-blocking and close-on-exec.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace sluice::net {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// Of an address in text form; nothing for names. Does not block.
std::optional<SocketAddress> numeric_address(const std::string& host, uint16_t port);

// Every address of a name (or of an address in text form) with that port. Blocks.
Result<std::vector<SocketAddress>> resolve(const std::string& host, uint16_t port);

// Bound to the first address of `host` that can be, with SO_REUSEADDR.
Result<Fd> listen_on(const std::string& host, uint16_t port);

// 0 when the socket has no port.
uint16_t local_port(int fd);

// "127.0.0.1:8000", "[::1]:8000" or "unix".
std::string address_text(const SocketAddress& address);

// Small answers leave at once (no Nagle). Without effect on a unix socket.
void set_no_delay(int fd);
void set_non_blocking(int fd);

// "what: system's words for errno".
std::string errno_text(std::string_view what, int error);

}  // namespace sluice::net
