// ReplicaReconciler: one Replica object ↔ one replica of the backend.
//
//   Pending ─start()─► Starting ─► Ready ⇄ NotReady      ends ─► Failed ─pause─► Starting
//   deleted: (its replacement is ready) ─► Draining, out of the plan ─► drain() ─► gone ─► no
//   object
//
// The backend is asked what is there, the object remembers what was: restarts, the last exit, since
// when it drains. An exit counts once, whatever crashes in between. What the backend runs and no
// object names is drained. The queue's thread only.
#pragma once

#include <string>

#include "control/object_store.h"
#include "platform/context.h"
#include "platform/replica_backend.h"
#include "platform/views.h"

namespace sluice::platform {

class ReplicaReconciler {
 public:
  explicit ReplicaReconciler(Context& context) : context_(context) {}

  WorkDone reconcile(const std::string& ns, const std::string& name);
  // Compares everything, lest a notification was lost.
  void look_around();

 private:
  using ObjectPtr = control::ObjectPtr;
  using View = std::optional<ReplicaView>;

  WorkDone begin(const ObjectPtr& replica, const control::StoredObject& revision);
  WorkDone start(const ObjectPtr& replica, const process::ReplicaSpec& spec);
  WorkDone observe(const ObjectPtr& replica, const ReplicaView& view);
  WorkDone ended(const ObjectPtr& replica, const ReplicaView& view);
  WorkDone note_exit(const ObjectPtr& replica, const ReplicaExit& exit, bool hopeless);
  WorkDone wait(const ObjectPtr& replica, std::string_view reason, const std::string& message,
                const WorkDone& then);
  WorkDone leave(const ObjectPtr& replica, const View& view);
  WorkDone drain(const ObjectPtr& replica);
  WorkDone release(const ObjectPtr& replica);
  void end_orphan(const ReplicaView& view);
  bool waits_for_replacement(const control::StoredObject& replica) const;
  ObjectPtr revision_of(const control::StoredObject& replica) const;
  Duration pause_after(int failures) const;
  std::string last_words(const ReplicaView& view) const;

  Context& context_;
};

}  // namespace sluice::platform
