// ReplicaWatch: one replica as its controller sees it, by way of its folder: looks after it, asks
// its probes, tells it to end, notices its end. A new controller makes another one of the same
// folder and goes on ("adopts" it).
//
// Everything is looked up in the folder; events (inotify, the keeper's pidfd) only say when to
// look. Signals go to the keeper by its pidfd, never by number: the number comes from posix_spawn,
// or from state.json together with the process's start time, or from whoever holds the lock.
//
// begin() belongs to the loop's thread; the rest may be called on any thread. The last owner may
// let go on any thread: it is destroyed on the loop's, or at once when the loop has ended.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "net/event_loop.h"
#include "net/socket.h"
#include "process/keeper_order.h"
#include "process/prober.h"
#include "process/proc_info.h"
#include "process/records.h"

namespace sluice::net {
class HttpClient;
}

namespace sluice::process {

class FolderWatch;

enum class WatchedPhase { kStarting, kReady, kNotReady, kDraining, kExited };

struct WatchedReplica {
  WatchedPhase phase = WatchedPhase::kStarting;
  std::string url;  // empty until it is known
  int64_t pid = 0;
  double started_unix = 0;
  std::optional<ReplicaEnd> end;  // of kExited
};

class ReplicaWatch final : net::EventLoop::Watcher,
                           public std::enable_shared_from_this<ReplicaWatch> {
 public:
  struct World {
    std::shared_ptr<net::EventLoop> loop;
    net::HttpClient& client;  // on that loop; outlives the replica, as does
    FolderWatch& folders;     // on that loop
    // Something of status() has changed. On the loop's thread.
    std::function<void(const std::string& id)> changed;
  };

  // Of a replica whose keeper was just spawned: `keeper` is its pidfd.
  static std::shared_ptr<ReplicaWatch> started(World world, const std::filesystem::path& folder,
                                               KeeperOrder order, net::Fd keeper);
  // Of a folder that was found. Reads what is there, without waiting.
  static std::shared_ptr<ReplicaWatch> adopt(World world, const std::filesystem::path& folder);
  ReplicaWatch(const ReplicaWatch&) = delete;
  ReplicaWatch& operator=(const ReplicaWatch&) = delete;

  const std::string& id() const { return id_; }
  const std::filesystem::path& folder() const { return folder_; }

  void begin();
  // Its keeper is gone as well, and reaped if it was this process's child.
  void when_gone(std::function<void()> gone);

  WatchedReplica status() const;
  // Nothing before it runs and after its end. Asks the system at most each second.
  Usage usage();

  void drain();
  void kill();

 private:
  ReplicaWatch(World world, std::filesystem::path folder);
  ~ReplicaWatch();
  static std::shared_ptr<ReplicaWatch> make(World world, const std::filesystem::path& folder);

  void on_events(uint32_t events) override;
  void look();
  bool look_for_end();
  bool look_for_keeper();
  void look_for_order();
  void look_for_state();
  void hold_keeper(net::Fd keeper);
  void ask_anew();
  void lose_keeper();
  void start_probing();
  void on_verdict(ProbeVerdict verdict, const std::string& why);
  void order_end(const EndOrder& order, int signal);
  void send_signal();
  void finish(ReplicaEnd end);
  void set_phase(WatchedPhase phase);
  void note_history(ProbeHistory history);
  void complain_once(const std::string& text);

  World world_;
  const std::filesystem::path folder_;
  const std::string id_;

  // Loop's thread only, or before begin().
  std::optional<KeeperOrder> order_;
  net::Fd keeper_;
  bool keeper_watched_ = false;
  bool keeper_gone_ = false;
  std::optional<ReplicaState> state_;
  ProbeHistory history_ = ProbeHistory::kNone;
  int folder_number_ = -1;
  net::EventLoop::Timer timer_;
  std::unique_ptr<Prober> prober_;
  EndOrder end_order_;
  int ordered_signal_ = 0;  // the strongest that it is to get
  bool signal_sent_ = false;
  bool asked_anew_ = false;
  bool complained_ = false;
  std::function<void()> gone_;

  mutable std::mutex mutex_;  // guards what follows
  WatchedReplica status_;
  ProcessName program_;
  Usage usage_;
  TimePoint usage_until_{};
};

}  // namespace sluice::process
