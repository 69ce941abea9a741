// Control groups (cgroup v1 and v2) where they are mounted and may be written: limits of memory and
// processors for a replica with all its children, and which limits this process itself is under.
//
// See the kernel's admin-guide/cgroup-v2 and cgroup-v1. A process sees the hierarchy from where its
// namespace begins, so the path that /proc/self/cgroup tells may not be there; then the mount's
// root is where it stands.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluice::process {

// Where this process stands.
struct ControlGroups {
  enum class Version { kNone, kV1, kV2 };
  Version version = Version::kNone;
  std::filesystem::path root;
  // Of v2 both are the same.
  std::filesystem::path memory;
  std::filesystem::path cpu;

  static ControlGroups of_this_process();
  static ControlGroups find(const std::filesystem::path& root, std::string_view self_text);

  // The least that it or one above it allows; 0: no limit.
  uint64_t memory_limit() const;
  double cpu_limit() const;
};

// Groups made for one replica. The files are removed by remove() only.
class ReplicaGroup {
 public:
  ReplicaGroup() = default;  // none
  // Makes what can be made; what cannot be is simply not limited by it.
  static ReplicaGroup create(const ControlGroups& groups, const std::string& name,
                             uint64_t memory_bytes, double cpus);
  // That folders of this name exist for.
  static ReplicaGroup of_folders(std::vector<std::string> folders);

  bool limits_memory() const { return limits_memory_; }
  bool limits_cpu() const { return limits_cpu_; }
  const std::vector<std::string>& folders() const { return folders_; }

  // The calling process goes there. False when a group does not take it.
  bool enter() const;
  // Processes that the kernel ended for want of memory: in it and all below it; or in it alone.
  uint64_t out_of_memory_kills() const;
  uint64_t out_of_memory_kills_here() const;
  std::vector<int64_t> processes() const;
  // When no process is left in it; else it stays.
  void remove();

 private:
  bool limits_memory_ = false;
  bool limits_cpu_ = false;
  std::vector<std::string> folders_;
};

}  // namespace sluice::process
