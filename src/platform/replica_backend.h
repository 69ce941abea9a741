// ReplicaBackend: where replicas run: as processes of this machine, as pods of a cluster, or in the
// simulator's world.
//
// The world is asked, never remembered: list() tells what is there now, also of replicas that
// somebody else started with the same backend before. Every call is idempotent and returns at once;
// what it asks for happens later and is told by the listener. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "process/replica_spec.h"

namespace sluice::platform {

enum class ReplicaPhase {
  kStarting,  // runs, has not been ready yet
  kReady,     // takes requests
  kNotReady,  // was ready; its readiness probe fails now
  kDraining,  // was told to end
  kExited,    // has ended; stays in the list until forget()
};

struct ReplicaExit {
  int code = 0;         // of a process that ended by itself
  int signal = 0;       // that ended it; 0: none
  std::string reason;   // a word: Completed, Error, OutOfMemory, NotLive, StartTimeout, CannotStart
  std::string message;  // for people, such as the last lines of its log; may be empty
  double at_unix = 0;
};

struct ReplicaView {
  std::string id;
  ReplicaPhase phase = ReplicaPhase::kStarting;
  std::string url;  // http://host:port; empty until it is known
  int64_t pid = 0;  // 0: none, or not of this machine
  double started_unix = 0;
  uint64_t memory_bytes = 0;        // in use; 0: unknown
  double cpu_seconds = 0;           // used so far
  std::optional<ReplicaExit> exit;  // of kExited
};

struct MachineRoom {
  uint64_t memory_bytes = 0;  // that replicas may have together
  double cpus = 0;
};

class ReplicaBackend {
 public:
  virtual ~ReplicaBackend() = default;

  // Begins to run it. An id that is there already (exited ones too) changes nothing. Fails where it
  // cannot be begun for want of something here (kUnavailable), or ever (kInvalidArgument).
  virtual Outcome start(const process::ReplicaSpec& spec) = 0;
  // It answers what it has begun and ends; killed when its grace is over.
  virtual void drain(std::string_view id) = 0;
  virtual void kill(std::string_view id) = 0;
  // Of an exited one: it leaves the list. Its log stays for a while.
  virtual void forget(std::string_view id) = 0;

  virtual std::vector<ReplicaView> list() = 0;
  virtual std::optional<ReplicaView> find(std::string_view id) = 0;
  virtual MachineRoom room() = 0;

  // Called, on any thread and without locks held, when something about the replica has changed.
  // Set once, before the first start().
  virtual void on_change(std::function<void(const std::string& id)> listener) = 0;

  // The last `max_bytes` of what the replica wrote, standard output and error together; also of one
  // that has been forgotten, for a while.
  virtual Result<std::string> log_tail(std::string_view id, size_t max_bytes) = 0;
};

}  // namespace sluice::platform
