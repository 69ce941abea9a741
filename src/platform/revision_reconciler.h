// RevisionReconciler: a Revision's granted count → Replica objects, and what the replicas are → its
// status.
//
// One more is made for each that is missing; those that go are the ones that take no requests, then
// the youngest. A Replica that is being deleted counts no longer: it is replaced while it drains.
// The queue's thread only.
#pragma once

#include <string>
#include <vector>

#include "control/object_store.h"
#include "platform/context.h"
#include "platform/views.h"

namespace sluice::platform {

class RevisionReconciler {
 public:
  explicit RevisionReconciler(Context& context) : context_(context) {}

  WorkDone reconcile(const std::string& ns, const std::string& name);

 private:
  using ObjectPtr = control::ObjectPtr;

  bool make_replica(const control::StoredObject& revision);
  bool remove_some(std::vector<ObjectPtr> live, size_t count);
  json::object status_of(const ObjectPtr& revision, const std::vector<ObjectPtr>& live, int ready,
                         const ModelView& model) const;
  Condition readiness(const control::StoredObject& revision, const RevisionStatus& status,
                      const std::vector<ObjectPtr>& live, const ModelView& model) const;

  Context& context_;
};

}  // namespace sluice::platform
