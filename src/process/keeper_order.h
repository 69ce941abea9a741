// KeeperOrder: what a keeper is told, the file spec.json of a replica's folder (mode 0600: its
// environment is secret). JSON form of ReplicaSpec with what the keeper needs besides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "process/replica_spec.h"

namespace sluice::process {

// Of what a replica writes. At most (files + 1) * file_bytes lie on the disk, and a line of
// kMaxLogLine more for each.
struct LogLimits {
  uint64_t file_bytes = 8u << 20;
  int files = 3;  // besides the one that is written
  // Whoever writes faster for long loses lines, which are counted: a disk is not to be worn by it.
  uint64_t bytes_per_second = 1u << 20;
  uint64_t burst_bytes = 16u << 20;
  bool operator==(const LogLimits&) const = default;
};

struct KeeperOrder {
  std::string token;           // of this one start: letters and digits
  bool control_groups = true;  // use them for limits where they can be written
  LogLimits logs;
  ReplicaSpec spec;
  bool operator==(const KeeperOrder&) const = default;
};

inline constexpr size_t kMaxOrderBytes = 4u << 20;
inline constexpr size_t kMaxIdBytes = 200;
inline constexpr size_t kMaxTokenBytes = 64;

// May be the name of a folder: letters, digits, '-' and '.', not first a '.'.
bool is_replica_id(std::string_view id);

// kInvalidArgument with the field's name: such a replica can never be run.
Outcome check_spec(const ReplicaSpec& spec);

// Of a spec that check_spec() takes. Durations are kept in milliseconds, rounded up.
std::string order_text(const KeeperOrder& order);
// Foreign bytes. What it takes, check_spec() takes.
Result<KeeperOrder> parse_order(std::string_view text);

}  // namespace sluice::process
