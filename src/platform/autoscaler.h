// Autoscaler: how many replicas each Revision shall have, and how many of them fit the machine.
//
// For each revision that keeps replicas a control::Kpa, fed second by second with the gateways'
// loads (LoadBook) or with what the replicas tell of themselves; every tick, and at once for a
// revision that is new, changed or woken. The counts go into the Revisions' statuses: desired, and
// granted by share_room(). A revision at zero has no Kpa: a request wakes it.
//
// A service that sleeps is not looked at: a thousand of them cost nothing. It is again when it is
// woken, when it or a revision of it has changed (note()), and once in each resync.
//
// What is kept here only is a window of loads: a new controller begins with the counts of before
// and takes nothing away for a stable window. wake() and note() from any thread, the rest from the
// queue's.
//
// With the log at debug, every decision is a line there that tools/oracles/kpa.py can judge
// (scale_trace.h).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/kpa.h"
#include "control/load_signals.h"
#include "control/object_store.h"
#include "platform/context.h"
#include "platform/load_book.h"
#include "platform/replica_signals.h"
#include "platform/room.h"
#include "platform/scale_policy.h"
#include "platform/views.h"

namespace sluice::platform {

class Autoscaler {
 public:
  // `signals` may be null: then only the gateways' loads are known.
  Autoscaler(Context& context, LoadBook& book, SignalSource* signals)
      : context_(context), book_(book), signals_(signals) {}

  // Upstreams (upstream_name()) that a request waits for.
  void wake(const std::vector<std::string>& upstreams);
  // What is asked of a service has changed, or one of its revisions: the next run() looks at it.
  void note(const std::string& ns, const std::string& service);

  WorkDone run();

 private:
  using ObjectPtr = control::ObjectPtr;
  using Seconds = std::chrono::seconds;

  // What the replicas were and told at a look.
  struct Told {
    int ready = 0;
    int64_t queued_tokens = 0;
    std::vector<control::KvUse> uses = {};
  };
  struct Scaled {
    std::unique_ptr<control::Kpa> kpa;
    ScalePolicy policy;
    bool panicking = false;
    std::map<int64_t, Told> told;  // by the first second that it holds for
    std::string service_uid;
    uint64_t service_version = 0;                // that the policy is of
    int64_t fed = 0;                             // second
    std::deque<std::pair<int64_t, int>> floors;  // of the stable window: falling from front to back
    std::map<std::string, std::pair<double, double>> cpu;  // of replicas: when, seconds used
  };
  struct Entry {
    ObjectPtr revision;
    RevisionStatus status;
    std::string upstream = {};               // whose requests it serves
    std::vector<std::string> woken_by = {};  // requests that wait for these
    int desired = 0;
    int floor = 0;
    int granted = 0;
  };

  using ServiceName = std::pair<std::string, std::string>;  // namespace, name

  std::set<ServiceName> services_to_look_at(const std::set<std::string>& woken, bool all);
  std::vector<Entry> entries(const std::set<ServiceName>& services) const;
  void keep_awake(const std::vector<Entry>& entries);
  void forget_gone(const std::vector<Entry>& all);
  static void assign_upstreams(std::vector<Entry>& entries);
  void decide(Entry& entry, bool tick, bool woken);
  control::KpaOptions options_of(const Entry& entry, const Scaled& scaled) const;
  void read_policy(const Entry& entry, Scaled& scaled) const;
  int floor_of(const Entry& entry, Scaled& scaled) const;
  void begin(const Entry& entry, Scaled& scaled, const control::KpaOptions& options) const;
  static void trace_options(const Entry& entry, const control::KpaOptions& options,
                            std::string_view how);
  void judge(Entry& entry, Scaled& scaled);
  void hear(const Entry& entry, Scaled& scaled) const;
  std::map<int64_t, double> loads_since(const Entry& entry, Scaled& scaled) const;
  double usage_load(const Entry& entry, Scaled& scaled) const;
  void share(std::vector<Entry>& entries) const;
  static double load_of(const Scaled& scaled, const LoadSecond& second);
  static double ttft_load(const Scaled& scaled, const LoadSecond& second);
  static const Told& told_at(const Scaled& scaled, int64_t second);
  bool put(const Entry& entry);
  void try_waiting();

  Context& context_;
  LoadBook& book_;
  SignalSource* signals_;
  std::map<std::string, Scaled> scaled_;  // by the revision's uid
  std::set<ServiceName> awake_;           // looked at every tick
  std::optional<TimePoint> next_tick_;
  std::optional<TimePoint> next_resync_;
  int64_t now_ = 0;  // Unix seconds; never goes back
  std::mutex mutex_;
  std::set<std::string> woken_;  // guarded by mutex_
  std::set<ServiceName> noted_;  // guarded by mutex_
};

}  // namespace sluice::platform
