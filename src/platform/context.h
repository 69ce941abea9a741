// Context: what every reconciler works with. One thread: the queue's.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"
#include "control/events.h"
#include "control/objects.h"
#include "platform/recipes.h"
#include "platform/replica_backend.h"
#include "platform/work_queue.h"

namespace sluice::platform {

struct PlatformTiming {
  Duration tick = std::chrono::seconds(2);       // of the autoscaler
  Duration look = std::chrono::seconds(10);      // at the backend's list, lest news were lost
  Duration resync = std::chrono::minutes(5);     // at every object, likewise
  Duration settle = std::chrono::seconds(1);     // between a plan without a replica and its end
  Duration patience = std::chrono::seconds(60);  // for the replacement of one that goes
  Duration first_restart = std::chrono::milliseconds(10);  // then twice as long each time
  Duration max_restart = std::chrono::minutes(5);
  Duration well_after = std::chrono::seconds(60);  // ready for so long: its failures are forgotten
  Duration gather = std::chrono::milliseconds(200);  // of services that come to share a process
  int kept_revisions = 3;                            // retired ones, for a way back
};

struct Context {
  control::Objects& objects;
  ReplicaBackend& backend;
  const Recipes& recipes;
  WorkQueue& queue;
  PlatformTiming timing;
  Rng rng;
  // The version of the objects that the plan of every gateway follows.
  std::function<uint64_t()> plan_version;
  // Whether no gateway goes by a plan that does not follow this version.
  std::function<bool(uint64_t version)> none_behind;

  control::ObjectStore& store() const { return objects.store(); }
  const Clock& clock() const { return objects.clock(); }
  double now() const { return clock().unix_seconds(); }

  // Kept until told by flush(): an event costs a write, and what serves a request goes first.
  void tell(const control::ObjectPtr& about, control::EventKind kind, std::string_view reason,
            std::string message);
  void flush_events();

  struct Told {
    control::ObjectPtr about;
    control::EventKind kind;
    std::string reason;
    std::string message;
  };
  std::vector<Told> told = {};
};

// As the control plane's own program.
control::WriteOptions own_writes();

// Puts a status where it differs. Another write in between is a reason to look again.
WorkDone put_status(Context& context, const control::ObjectPtr& seen, json::object status,
                    const WorkDone& then = WorkDone::done());
// Whether it is gone, or on its way.
bool remove_object(Context& context, const control::StoredObject& object);

inline Duration seconds_of(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace sluice::platform
