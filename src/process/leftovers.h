// What is left of a replica whose keeper was killed: the kernel has killed the program with it, but
// not what the program had started.
#pragma once

#include <cstddef>
#include <string>

#include "process/records.h"

namespace sluice::process {

// Kills every process of the control groups, of the keeper's session, or with the start's token in
// its environment, until none is left or the patience for it is over; removes the groups.
// The number of processes that were killed. Never signals by number alone. Blocks for some
// milliseconds. `state` may be empty: then the token alone counts.
size_t kill_leftovers(const std::string& token, const ReplicaState* state);

}  // namespace sluice::process
