// The end of a serving process: what is under way is answered first, unless somebody is in a hurry.
#pragma once

#include <functional>

#include "base/clock.h"
#include "cli/signals.h"

namespace sluice::cli {

// Calls `drain` (true: all was answered in time) on another thread, so that a second signal can end
// the process at once. Returns the process's exit status.
int drain_or_exit(const std::function<bool(Duration patience)>& drain, const Signals& signals,
                  int timeout_seconds);

}  // namespace sluice::cli
