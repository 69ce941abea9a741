// PlatformCore: the reconcilers over one queue, without threads, sockets or files: changes of
// objects and of replicas become keys, work() does one of them. Platform runs it on a thread; the
// simulator step by step, destroying and rebuilding it from what the objects and the backend know.
//
// Changes are pushed: nothing waits between a wake and the start of a process. What is looked at
// every now and then is so lest a notification was lost.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "control/object_store.h"
#include "control/objects.h"
#include "platform/autoscaler.h"
#include "platform/context.h"
#include "platform/load_book.h"
#include "platform/object_status.h"
#include "platform/plan_keeper.h"
#include "platform/recipes.h"
#include "platform/replica_reconciler.h"
#include "platform/revision_reconciler.h"
#include "platform/service_reconciler.h"
#include "platform/work_queue.h"

namespace sluice::platform {

struct CoreOptions {
  PlatformTiming timing = {};
  uint64_t seed = 0;  // of the names of replicas
  PlanSettings plan = {};
  PlanKeeper::Publish publish = {};
  ServiceHooks hooks = {};  // plan_problem and in_force are the core's own
  SignalSource* signals = nullptr;
};

class PlatformCore {
 public:
  // Everything outlives it. Takes the backend's listener.
  PlatformCore(control::Objects& objects, ReplicaBackend& backend, const Recipes& recipes,
               LoadBook& book, CoreOptions options);
  ~PlatformCore();
  PlatformCore(const PlatformCore&) = delete;
  PlatformCore& operator=(const PlatformCore&) = delete;

  // Watches the objects, and looks at all that is there.
  Outcome begin();

  WorkQueue& queue() { return queue_; }
  WorkDone work(const WorkKey& key);
  // Takes and works one key that is due; false: there is none.
  bool step();

  // Any thread.
  void wake(const std::vector<std::string>& upstreams) { autoscaler_.wake(upstreams); }
  // A gateway has told the book something: also for which upstreams requests wait.
  void told(const std::vector<std::string>& awaited);
  void model_changed(const std::string& uri);
  uint64_t plan_version() const { return plan_.version(); }

 private:
  // What notifications are given to; they may come later than the core goes.
  struct Inbox {
    std::mutex mutex;
    PlatformCore* core = nullptr;  // null: it has gone
  };

  void changed(const control::Change& change);
  void service_changed(const control::Change& change);
  void revision_changed(const control::Change& change);
  void replica_changed(const control::Change& change);
  void other_changed(const control::Change& change);
  WorkDone look_around();
  void resync();
  WorkDone work_object(const WorkKey& key);
  void look_at_sharing(const std::string& ns);
  void look_at_services(const std::string& ns);
  void look_at_waiting(const std::string& ns);
  void look_at_models(const std::string& uri);

  WorkQueue queue_;
  Context context_;
  PlanKeeper plan_;
  ServiceReconciler services_;
  RevisionReconciler revisions_;
  ReplicaReconciler replicas_;
  Autoscaler autoscaler_;
  ObjectStatus object_status_;
  bool look_at_all_ = true;  // at the next look
  size_t looks_ = 0;
  std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
};

}  // namespace sluice::platform
