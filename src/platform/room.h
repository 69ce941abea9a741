// Room: memory and cores of the machine, and who is given them.
//
// share_room() decides how many replicas each revision may have, from scratch each time: equal
// input gives equal shares. In this order, by rounds of one replica each, revisions by name:
//   1. what runs already and is somebody's floor stays;
//   2. everybody who wants one gets a first one;
//   3. floors; 4. the rest, so that nobody has two more than one who wants as many;
//   5. those that yield to all others.
// What runs above its share makes room, by draining.
//
// Pure functions but room_in_use(), which asks the backend. Any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/object_store.h"
#include "platform/replica_backend.h"
#include "platform/replica_template.h"

namespace sluice::platform {

inline constexpr std::string_view kInsufficientRoom = "InsufficientRoom";

struct RoomUse {
  MachineRoom total;  // 0: not limited
  uint64_t memory_bytes = 0;
  double cpus = 0;
};

struct RoomClaim {
  ReplicaNeeds needs = {};
  int desired = 0;
  int floor = 0;    // of desired: not for others to take
  int running = 0;  // now
  bool yields = false;
};

// How many each may have; claims in their order of name.
std::vector<int> share_room(std::span<const RoomClaim> claims, const MachineRoom& total);

ReplicaNeeds needs_of(const control::StoredObject& revision);
// By what lives in the backend, those that drain among them.
RoomUse room_in_use(const control::ObjectStore& store, ReplicaBackend& backend);
bool fits(const RoomUse& use, const ReplicaNeeds& needs);
// "asked: 2.0 GiB and 1 cores; left: 0.5 GiB of 8.0 GiB, 3 of 4 cores".
std::string room_message(const ReplicaNeeds& needs, const RoomUse& use);

}  // namespace sluice::platform
