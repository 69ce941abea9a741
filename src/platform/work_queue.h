// WorkQueue: what the platform has to look at, each thing once however often it was named, now or
// at a time; and the one thread that does it.
//
// Any thread may add. Work is taken by one: by run()'s caller, or step by step by a simulation that
// turns the clock. Of what is due, the more urgent kind comes first, then what waits longest.
// Bounded: past the limit a key is not taken and overflowed() tells, so that whoever works looks at
// everything instead.
#pragma once

#include <compare>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "base/clock.h"

namespace sluice::platform {

// In the order of urgency: what is nearest to serving a request first.
enum class WorkKind {
  kPlan,
  kPlanTaken,
  kReplica,
  kRevision,
  kScale,
  kService,
  kObject,
  kBackend,
  kTell
};

struct WorkKey {
  WorkKind kind = WorkKind::kService;
  std::string ns;
  std::string name;
  auto operator<=>(const WorkKey&) const = default;
};

// What became of one piece of work.
struct WorkDone {
  bool failed = false;                 // try again, after a pause that grows
  std::optional<Duration> again = {};  // look again after this

  static WorkDone done() { return {}; }
  static WorkDone after(Duration pause) { return {.again = pause}; }
  static WorkDone retry() { return {.failed = true}; }
};

struct WorkQueueOptions {
  size_t max_keys = 65'536;
  Duration first_pause = std::chrono::milliseconds(5);  // after a failure, then twice as long
  Duration max_pause = std::chrono::seconds(30);
};

class WorkQueue {
 public:
  explicit WorkQueue(const Clock& clock = system_clock(), WorkQueueOptions options = {})
      : clock_(clock), options_(options) {}

  void add(const WorkKey& key) { add_at(key, clock_.now()); }
  void add_after(const WorkKey& key, Duration pause) { add_at(key, clock_.now() + pause); }
  // Of several times the earliest holds.
  void add_at(const WorkKey& key, TimePoint due);

  // The next key that is due, which leaves the queue.
  std::optional<WorkKey> take();
  // Puts it back as its result says.
  void finish(const WorkKey& key, const WorkDone& done);

  std::optional<TimePoint> next_due() const;
  size_t size() const;
  // Whether a key was turned away since the last call.
  bool overflowed();

  // Takes and works until told to stop.
  void run(const std::stop_token& stop, const std::function<WorkDone(const WorkKey&)>& work);

 private:
  struct Place {
    TimePoint due;
    uint64_t order = 0;  // of arrival
  };
  struct Turn {  // of what is due
    WorkKind kind;
    uint64_t order;
    WorkKey key;
    auto operator<=>(const Turn&) const = default;
  };
  struct Later {
    TimePoint due;
    uint64_t order;
    WorkKey key;
    auto operator<=>(const Later&) const = default;
  };

  void ripen(TimePoint now);

  const Clock& clock_;
  const WorkQueueOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<WorkKey, Place> places_;  // all that wait
  std::set<Turn> due_;
  std::set<Later> later_;
  std::map<WorkKey, int> failures_;  // in a row
  uint64_t next_order_ = 0;
  bool overflowed_ = false;
};

}  // namespace sluice::platform
