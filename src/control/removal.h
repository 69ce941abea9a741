// What goes with an object: its dependents, the contents of a namespace. Pure functions over the
// store's present state.
#pragma once

#include <vector>

#include "control/object_store.h"
#include "control/objects.h"

namespace sluice::control {

// The writes that remove `object` and what depends on it. Where finalizers stand in the way, they
// mark it as being deleted. `object` may be newer than what is stored.
struct Removal {
  std::vector<Write> writes;
  bool gone = false;  // the object itself
};
Removal plan_removal(const ObjectStore& store, const ObjectPtr& object, Propagation propagation,
                     double now);

// Marks a namespace as ending: nothing new may be made in it. What is in it goes at the next sweep.
Removal plan_namespace_end(const ObjectPtr& ns, double now);

// Owners and namespaces that were only waiting for `removed` to go.
std::vector<ObjectPtr> waiting_for(const ObjectStore& store, const StoredObject& removed);

}  // namespace sluice::control
