#include "base/memory_info.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace sluice {
namespace {

constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();

int64_t read_number(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : kUnknown;
}

int64_t mem_available() {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("MemAvailable:")) continue;
    std::istringstream rest(line.substr(13));
    int64_t kib = 0;
    if (rest >> kib) return kib * 1024;
  }
  return kUnknown;
}

// What the control group (v2, then v1) leaves; kUnknown without a limit.
int64_t group_headroom() {
  int64_t limit = read_number("/sys/fs/cgroup/memory.max");
  int64_t used = read_number("/sys/fs/cgroup/memory.current");
  if (limit == kUnknown) {
    limit = read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    used = read_number("/sys/fs/cgroup/memory/memory.usage_in_bytes");
  }
  if (limit == kUnknown || used == kUnknown) return kUnknown;
  return std::max<int64_t>(limit - used, 0);
}

}  // namespace

int64_t available_memory_bytes() {
  const int64_t least = std::min(mem_available(), group_headroom());
  return least == kUnknown ? int64_t{1} << 30 : least;
}

int64_t resident_memory_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  if (!(file >> total >> resident)) return 0;
  return resident * ::sysconf(_SC_PAGESIZE);
}

}  // namespace sluice
