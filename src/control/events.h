// core/v1 Events: what happened to an object, for `kubectl describe` and `kubectl get events`.
//
// Callable from any thread. The same thing again is counted, not repeated; what was not seen for
// kEventLife goes, and beyond kMaxEvents the oldest do.
#pragma once

#include <string>
#include <string_view>

#include "control/objects.h"

namespace sluice::control {

enum class EventKind { kNormal, kWarning };

class EventRecorder {
 public:
  // `component` tells who speaks, such as "sluice-autoscaler".
  EventRecorder(Objects& objects, std::string component)
      : objects_(objects), component_(std::move(component)) {}

  // `reason` is one word in PascalCase. An event that cannot be stored is logged and dropped.
  void record(const StoredObject& about, EventKind kind, std::string_view reason,
              std::string_view message);

 private:
  Objects& objects_;
  const std::string component_;
};

// Removes events that are too old or too many.
void expire_events(Objects& objects);

}  // namespace sluice::control
