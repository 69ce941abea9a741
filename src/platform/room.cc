#include "platform/room.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/json_util.h"
#include "platform/views.h"

namespace sluice::platform {
namespace {

// Sums of binary fractions of cores.
constexpr double kCoreSlack = 1e-6;
constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

void add(RoomUse& use, const ReplicaNeeds& needs) {
  use.memory_bytes += needs.memory_bytes;
  use.cpus += needs.cpus;
}

class Sharing {
 public:
  Sharing(std::span<const RoomClaim> claims, const MachineRoom& total)
      : claims_(claims), shares_(claims.size(), 0), use_{.total = total} {}

  // One more for each that has fewer than `upto` says, round by round.
  template <typename Upto>
  void fill(Upto upto) {
    std::vector<bool> full(claims_.size(), false);
    for (bool gave = true; gave;) {
      gave = false;
      int least = INT32_MAX;
      for (size_t i = 0; i < claims_.size(); ++i) {
        if (!full[i] && shares_[i] < upto(claims_[i])) least = std::min(least, shares_[i]);
      }
      for (size_t i = 0; i < claims_.size(); ++i) {
        if (full[i] || shares_[i] != least || shares_[i] >= upto(claims_[i])) continue;
        if (fits(use_, claims_[i].needs)) {
          add(use_, claims_[i].needs);
          ++shares_[i];
        } else {
          full[i] = true;
        }
        gave = true;
      }
    }
  }

  std::vector<int> take() { return std::move(shares_); }

 private:
  std::span<const RoomClaim> claims_;
  std::vector<int> shares_;
  RoomUse use_;
};

std::string memory_text(uint64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / kGiB);
}

}  // namespace

std::vector<int> share_room(std::span<const RoomClaim> claims, const MachineRoom& total) {
  Sharing sharing(claims, total);
  const auto unless_yielding = [](auto upto) {
    return [upto](const RoomClaim& c) { return c.yields ? 0 : upto(c); };
  };
  sharing.fill(unless_yielding(
      [](const RoomClaim& c) { return std::min({c.running, c.floor, c.desired}); }));
  sharing.fill(unless_yielding([](const RoomClaim& c) { return std::min(1, c.desired); }));
  sharing.fill(unless_yielding([](const RoomClaim& c) { return std::min(c.floor, c.desired); }));
  sharing.fill(unless_yielding([](const RoomClaim& c) { return c.desired; }));
  sharing.fill([](const RoomClaim& c) { return c.desired; });
  return sharing.take();
}

ReplicaNeeds needs_of(const control::StoredObject& revision) {
  const auto* spec = control::object_at(revision.body, "spec");
  return spec == nullptr ? ReplicaNeeds{} : replica_needs(*spec);
}

RoomUse room_in_use(const control::ObjectStore& store, ReplicaBackend& backend) {
  RoomUse use{.total = backend.room()};
  for (const ReplicaView& view : backend.list()) {
    if (view.phase == ReplicaPhase::kExited) continue;
    const ReplicaName name = replica_name(view.id);
    const auto replica = store.get({&replica_type(), name.ns, name.name});
    if (!replica) {
      // Nobody knows what it asked for.
      use.memory_bytes += view.memory_bytes;
      continue;
    }
    const json::object& body = replica->body;
    add(use, {.memory_bytes =
                  static_cast<uint64_t>(control::integer_at(body, "spec.memoryBytes").value_or(0)),
              .cpus = control::number_at(body, "spec.cpus").value_or(0)});
  }
  return use;
}

bool fits(const RoomUse& use, const ReplicaNeeds& needs) {
  const bool memory = use.total.memory_bytes == 0 || needs.memory_bytes == 0 ||
                      (needs.memory_bytes <= use.total.memory_bytes &&
                       use.memory_bytes <= use.total.memory_bytes - needs.memory_bytes);
  const bool cores = use.total.cpus <= 0 || needs.cpus <= 0 ||
                     use.cpus + needs.cpus <= use.total.cpus + kCoreSlack;
  return memory && cores;
}

std::string room_message(const ReplicaNeeds& needs, const RoomUse& use) {
  const uint64_t memory_left =
      use.total.memory_bytes - std::min(use.memory_bytes, use.total.memory_bytes);
  const double cores_left = std::max(0.0, use.total.cpus - use.cpus);
  return fmt::format(
      "a replica asks for {} and {:.2f} cores; left are {} of {} and {:.2f} of {:.2f} cores: lower "
      "resources.requests, or stop another service",
      memory_text(needs.memory_bytes), needs.cpus, memory_text(memory_left),
      memory_text(use.total.memory_bytes), cores_left, use.total.cpus);
}

}  // namespace sluice::platform
