#include "base/memory_info.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

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

// A mapping as /proc/self/smaps begins it: "7f12a000-7f12b000 r-xp 00001000 fd:00 1234 /lib/x.so".
// Null where it is not a file's, or may be written to.
std::span<std::byte> read_only_file(std::string_view line) {
  uintptr_t begin = 0, end = 0;
  const char* const last = line.data() + line.size();
  const auto first = std::from_chars(line.data(), last, begin, 16);
  if (first.ec != std::errc() || first.ptr == last || *first.ptr != '-') return {};
  const auto second = std::from_chars(first.ptr + 1, last, end, 16);
  if (second.ec != std::errc() || last - second.ptr < 5 || end <= begin) return {};
  const bool writable = second.ptr[2] == 'w';
  if (writable || line.find(" /") == std::string_view::npos) return {};
  return {reinterpret_cast<std::byte*>(begin), end - begin};
}

}  // namespace

void give_back_start_pages() {
  std::ifstream file("/proc/self/smaps");
  std::string line;
  std::span<std::byte> mapping;
  while (std::getline(file, line)) {
    // Field names begin with a capital letter, mappings with their address.
    if (const std::string_view name = line; name.find(':') > name.find(' ')) {
      mapping = read_only_file(line);
    } else if (line.starts_with("Private_Dirty:") && line.ends_with(" 0 kB") && !mapping.empty()) {
      // Relocated tables are read-only too, but dirty: their contents are nowhere else.
      ::madvise(mapping.data(), mapping.size(), MADV_DONTNEED);
      mapping = {};
    }
  }
}

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
