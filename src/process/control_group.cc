#include "process/control_group.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <system_error>
#include <utility>

#include "net/socket.h"
#include "process/proc_info.h"

namespace sluice::process {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPeriodMicroseconds = 100'000;
constexpr uint64_t kNoLimitV1 = uint64_t{1} << 62;  // v1 writes a huge number for "none"

bool write_text(const fs::path& path, std::string_view text) {
  const net::Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.valid() &&
         ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::optional<int64_t> parse_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<int64_t> read_number(const fs::path& path) {
  return parse_number(read_kernel_file(path.string(), 64));
}

// "key N" on a line of its own.
uint64_t read_count(const fs::path& path, std::string_view key) {
  const std::string text = "\n" + read_kernel_file(path.string());
  const size_t at = text.find(fmt::format("\n{} ", key));
  if (at == std::string::npos) return 0;
  const auto value = parse_number(std::string_view(text).substr(at + key.size() + 2));
  return value && *value > 0 ? static_cast<uint64_t>(*value) : 0;
}

fs::path existing(const fs::path& mount, std::string_view path) {
  const fs::path whole = mount / fs::path(path).relative_path();
  std::error_code error;
  return fs::is_directory(whole, error) ? whole : mount;
}

bool has_word(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t end = list.find_first_of(", \n");
    if (list.substr(0, end) == word) return true;
    if (end == std::string_view::npos) break;
    list.remove_prefix(end + 1);
  }
  return false;
}

// Of each folder from `from` up to and with `root`.
template <typename F>
void upwards(const fs::path& root, fs::path from, F&& look) {
  while (true) {
    look(from);
    if (from == root || !from.has_relative_path() || from == from.parent_path()) return;
    from = from.parent_path();
    if (!from.string().starts_with(root.string())) return;
  }
}

// v2 offers to children what subtree_control names; a group with processes of its own cannot.
bool offers(const fs::path& group, std::string_view controller) {
  const fs::path file = group / "cgroup.subtree_control";
  if (has_word(read_kernel_file(file.string()), controller)) return true;
  return write_text(file, fmt::format("+{}", controller)) &&
         has_word(read_kernel_file(file.string()), controller);
}

}  // namespace

ControlGroups ControlGroups::of_this_process() {
  return find("/sys/fs/cgroup", read_kernel_file("/proc/self/cgroup"));
}

ControlGroups ControlGroups::find(const fs::path& root, std::string_view self_text) {
  ControlGroups out;
  out.root = root;
  std::error_code error;
  const bool unified = fs::exists(root / "cgroup.controllers", error);
  while (!self_text.empty()) {
    const size_t end = std::min(self_text.find('\n'), self_text.size());
    const std::string_view line = self_text.substr(0, end);
    self_text.remove_prefix(std::min(end + 1, self_text.size()));
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string_view path = line.substr(second + 1);
    if (unified && controllers.empty()) {
      out.version = Version::kV2;
      out.memory = out.cpu = existing(root, path);
    } else if (!unified && has_word(controllers, "memory")) {
      out.memory = existing(root / "memory", path);
    } else if (!unified && has_word(controllers, "cpu")) {
      out.cpu = existing(root / "cpu", path);
    }
  }
  const bool v1 = fs::is_directory(out.memory, error) || fs::is_directory(out.cpu, error);
  if (out.version == Version::kNone && v1) out.version = Version::kV1;
  return out;
}

uint64_t ControlGroups::memory_limit() const {
  uint64_t least = 0;
  if (version == Version::kNone || memory.empty()) return 0;
  const char* file = version == Version::kV2 ? "memory.max" : "memory.limit_in_bytes";
  upwards(root, memory, [&](const fs::path& group) {
    const auto limit = read_number(group / file);
    if (!limit || *limit <= 0 || static_cast<uint64_t>(*limit) >= kNoLimitV1) return;
    least =
        least == 0 ? static_cast<uint64_t>(*limit) : std::min(least, static_cast<uint64_t>(*limit));
  });
  return least;
}

double ControlGroups::cpu_limit() const {
  double least = 0;
  if (version == Version::kNone || cpu.empty()) return 0;
  upwards(root, cpu, [&](const fs::path& group) {
    std::optional<int64_t> quota;
    std::optional<int64_t> period;
    if (version == Version::kV2) {
      const std::string text = read_kernel_file((group / "cpu.max").string(), 64);
      const size_t space = text.find(' ');
      quota = parse_number(text);
      if (space != std::string::npos) period = parse_number(text.substr(space + 1));
    } else {
      quota = read_number(group / "cpu.cfs_quota_us");
      period = read_number(group / "cpu.cfs_period_us");
    }
    if (!quota || !period || *quota <= 0 || *period <= 0) return;
    const double cpus = static_cast<double>(*quota) / static_cast<double>(*period);
    least = least == 0 ? cpus : std::min(least, cpus);
  });
  return least;
}

ReplicaGroup ReplicaGroup::create(const ControlGroups& groups, const std::string& name,
                                  uint64_t memory_bytes, double cpus) {
  ReplicaGroup out;
  const bool v2 = groups.version == ControlGroups::Version::kV2;
  if (groups.version == ControlGroups::Version::kNone) return out;
  const auto make = [&](const fs::path& parent) -> fs::path {
    if (parent.empty()) return {};
    fs::path group = parent / name;
    const bool there = std::ranges::find(out.folders_, group.string()) != out.folders_.end();
    if (!there && ::mkdir(group.c_str(), 0755) != 0 && errno != EEXIST) return {};
    if (!there) out.folders_.push_back(group.string());
    return group;
  };
  if (memory_bytes > 0 && (!v2 || offers(groups.memory, "memory"))) {
    const fs::path group = make(groups.memory);
    const char* file = v2 ? "memory.max" : "memory.limit_in_bytes";
    out.limits_memory_ = !group.empty() && write_text(group / file, std::to_string(memory_bytes));
    // One that lost a child to its limit is no replica any more.
    if (out.limits_memory_ && v2) write_text(group / "memory.oom.group", "1");
  }
  if (cpus > 0 && (!v2 || offers(groups.cpu, "cpu"))) {
    const fs::path group = make(groups.cpu);
    const auto quota =
        std::max<int64_t>(1000, std::llround(cpus * static_cast<double>(kPeriodMicroseconds)));
    out.limits_cpu_ =
        !group.empty() &&
        (v2 ? write_text(group / "cpu.max", fmt::format("{} {}", quota, kPeriodMicroseconds))
            : write_text(group / "cpu.cfs_period_us", std::to_string(kPeriodMicroseconds)) &&
                  write_text(group / "cpu.cfs_quota_us", std::to_string(quota)));
  }
  if (!out.limits_memory_ && !out.limits_cpu_) out.remove();
  return out;
}

ReplicaGroup ReplicaGroup::of_folders(std::vector<std::string> folders) {
  ReplicaGroup out;
  out.folders_ = std::move(folders);
  return out;
}

bool ReplicaGroup::enter() const {
  return std::ranges::all_of(folders_, [](const std::string& folder) {
    return write_text(fs::path(folder) / "cgroup.procs", "0");
  });
}

uint64_t ReplicaGroup::out_of_memory_kills() const {
  uint64_t kills = 0;
  for (const std::string& folder : folders_) {
    kills += read_count(fs::path(folder) / "memory.events", "oom_kill");
    kills += read_count(fs::path(folder) / "memory.oom_control", "oom_kill");
  }
  return kills;
}

uint64_t ReplicaGroup::out_of_memory_kills_here() const {
  uint64_t kills = 0;
  for (const std::string& folder : folders_) {
    kills += read_count(fs::path(folder) / "memory.events.local", "oom_kill");
    kills += read_count(fs::path(folder) / "memory.oom_control", "oom_kill");  // v1 counts so only
  }
  return kills;
}

std::vector<int64_t> ReplicaGroup::processes() const {
  std::vector<int64_t> out;
  for (const std::string& folder : folders_) {
    const std::string text = read_kernel_file(folder + "/cgroup.procs", 1u << 20);
    std::string_view rest = text;
    while (const auto pid = parse_number(rest)) {
      out.push_back(*pid);
      const size_t end = rest.find('\n');
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
  }
  return out;
}

void ReplicaGroup::remove() {
  std::erase_if(folders_, [](const std::string& folder) {
    return ::rmdir(folder.c_str()) == 0 || errno == ENOENT;
  });
}

}  // namespace sluice::process
