// NameCache: the addresses of names, remembered for all clients of the process.
//
// Looking a name up blocks, for seconds at worst. On an event loop's thread a remembered answer is
// therefore used for longer than elsewhere; whoever has threads to spare keeps it fresh by
// refresh_name(). Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "net/socket.h"

namespace sluice::net {

class NameCache {
 public:
  static constexpr std::chrono::seconds kFresh{60};
  static constexpr std::chrono::minutes kUsable{10};  // on a loop

  explicit NameCache(const Clock& clock = system_clock()) : clock_(clock) {}
  static NameCache& shared();

  Result<std::vector<SocketAddress>> get(const std::string& host, uint16_t port);
  // Asks again, whatever is known. What was known stays when that fails.
  Outcome refresh(const std::string& host, uint16_t port);

 private:
  struct Entry {
    TimePoint at;
    std::vector<SocketAddress> addresses;
  };
  static constexpr size_t kMaxNames = 1024;

  const Clock& clock_;
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;  // by "host:port"
};

}  // namespace sluice::net
