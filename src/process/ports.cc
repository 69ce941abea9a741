#include "process/ports.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/rng.h"
#include "process/proc_info.h"

namespace sluice::process {
namespace {

constexpr int kFirst = 20'000;
constexpr int kLast = 32'767;
constexpr int kFewest = 256;  // with fewer, the kernel chooses
constexpr int kTries = 512;

// Whether a program could bind it, without any option.
bool is_free(uint16_t port) {
  const net::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  // On all addresses: some programs listen there.
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  return socket.valid() &&
         ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

// An abstract name belongs to the network namespace, as ports do, and goes with its process.
net::Fd promise(uint16_t port) {
  net::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = fmt::format("sluice-port-{}", port);
  std::ranges::copy(name, address.sun_path + 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (!socket.valid() ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    return {};
  }
  return socket;
}

// The first that the kernel may give to an outgoing connection at any moment.
int first_ephemeral() {
  const std::string text = read_kernel_file("/proc/sys/net/ipv4/ip_local_port_range");
  return text.empty() ? kLast + 1 : std::atoi(text.c_str());
}

}  // namespace

Result<ReservedPort> reserve_port() {
  Rng rng(random_seed());
  const int count = std::min(kLast, first_ephemeral() - 1) - kFirst + 1;
  for (int i = 0; i < kTries && count >= kFewest; ++i) {
    const auto port = static_cast<uint16_t>(kFirst + rng.below(static_cast<uint64_t>(count)));
    net::Fd mine = promise(port);
    if (mine.valid() && is_free(port)) return ReservedPort{port, std::move(mine)};
  }
  SLUICE_ASSIGN_OR_RETURN(const net::Fd any, net::listen_on("127.0.0.1", 0));
  const uint16_t port = net::local_port(any.get());
  return ReservedPort{port, promise(port)};
}

}  // namespace sluice::process
