// NameCache: the addresses of names, remembered for all clients of the process.
//
// Looking a name up blocks, for many seconds at worst, so it happens on threads of the cache's own
// and never on the caller's. What was known once is never forgotten because a later look-up fails:
// a name server that is down takes nothing away. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/worker_pool.h"
#include "net/socket.h"

namespace sluice::net {

class NameCache {
 public:
  using Addresses = std::vector<SocketAddress>;
  using LookUp = std::function<Result<Addresses>(const std::string& host, uint16_t port)>;
  // Called once, on a thread of the cache's.
  using Done = std::function<void(const Result<Addresses>& found)>;

  static constexpr std::chrono::seconds kFresh{30};   // older: used, and asked for anew meanwhile
  static constexpr std::chrono::minutes kUsable{10};  // older: waited for
  static constexpr std::chrono::seconds kPause{2};    // behind a failed look-up of a known name

  explicit NameCache(const Clock& clock = system_clock(), LookUp look_up = resolve);
  // Waits for the look-ups under way; their callers are told.
  ~NameCache();
  NameCache(const NameCache&) = delete;
  NameCache& operator=(const NameCache&) = delete;
  static NameCache& shared();

  // Never blocks. What may be used at once; else nothing, and `done` is told what was found: by a
  // look-up that failed too, as long as the name was known before.
  std::optional<Addresses> find(const std::string& host, uint16_t port, Done done);

 private:
  struct Entry {
    Addresses addresses;   // empty: not known yet
    TimePoint at{};        // when they were found
    TimePoint ask_next{};  // not before
    bool asking = false;
    std::vector<Done> waiting;
  };
  static constexpr size_t kMaxNames = 1024;
  static constexpr int kThreads = 4;

  bool ask(const std::string& origin, const std::string& host, uint16_t port, Entry& entry);
  void look_up(const std::string& origin, const std::string& host, uint16_t port);
  void make_room();

  const Clock& clock_;
  const LookUp look_up_;
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;  // by "host:port"
  std::unique_ptr<WorkerPool> threads_;   // from the first look-up on
};

}  // namespace sluice::net
