#include "process/proc_info.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <memory>

namespace sluice::process {
namespace {

constexpr size_t kMaxEnvironment = 4u << 20;
constexpr size_t kMaxTree = 65536;

// The next word of `text`, which loses it.
std::string_view next_word(std::string_view& text) {
  const size_t begin = text.find_first_not_of(" \n");
  if (begin == std::string_view::npos) {
    text = {};
    return {};
  }
  text.remove_prefix(begin);
  const std::string_view word = text.substr(0, text.find_first_of(" \n"));
  text.remove_prefix(word.size());
  return word;
}

template <typename T>
bool read_number(std::string_view word, T& out) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  return error == std::errc() && end == word.data() + word.size();
}

std::vector<int64_t> numbers_in(const std::string& folder) {
  struct Close {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  std::vector<int64_t> out;
  const std::unique_ptr<DIR, Close> directory(::opendir(folder.c_str()));
  if (!directory) return out;
  while (const dirent* entry = ::readdir(directory.get())) {
    int64_t number = 0;
    if (read_number(std::string_view(entry->d_name), number)) out.push_back(number);
  }
  return out;
}

}  // namespace

// Without streams: keepers do this all day.
std::string read_kernel_file(const std::string& path, size_t max_bytes) {
  const net::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string out;
  if (!file.valid()) return out;
  std::array<char, 4096> part;
  while (out.size() < max_bytes) {
    const ssize_t got = ::read(file.get(), part.data(), part.size());
    if (got <= 0) break;
    out.append(part.data(), static_cast<size_t>(got));
  }
  return out;
}

std::optional<ProcessStat> parse_stat(std::string_view text) {
  const size_t open = text.find(" (");
  const size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) {
    return std::nullopt;
  }
  ProcessStat out;
  if (!read_number(text.substr(0, open), out.pid)) return std::nullopt;
  std::string_view rest = text.substr(close + 1);
  // Field 3 is the first behind the name.
  std::array<std::string_view, 20> fields;
  for (std::string_view& field : fields) field = next_word(rest);
  if (fields[0].size() != 1) return std::nullopt;
  out.state = fields[0][0];
  uint64_t ticks = 0;
  const bool good = read_number(fields[1], out.parent) && read_number(fields[2], out.group) &&
                    read_number(fields[3], out.session) && read_number(fields[19], out.start_ticks);
  if (!good) return std::nullopt;
  for (size_t i = 11; i <= 14; ++i) {  // utime, stime, cutime, cstime
    uint64_t each = 0;
    if (read_number(fields[i], each)) ticks += each;
  }
  static const auto kTicksPerSecond = static_cast<double>(::sysconf(_SC_CLK_TCK));
  out.cpu_seconds = static_cast<double>(ticks) / kTicksPerSecond;
  return out;
}

std::optional<ProcessStat> read_stat(int64_t pid) {
  return parse_stat(read_kernel_file(fmt::format("/proc/{}/stat", pid), 4096));
}

uint64_t parse_private_memory(std::string_view status_text) {
  uint64_t kib = 0;
  for (const std::string_view name : {"\nRssAnon:", "\nRssShmem:", "\nVmSwap:"}) {
    const size_t at = status_text.find(name);
    if (at == std::string_view::npos) continue;
    std::string_view rest = status_text.substr(at + name.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
    uint64_t each = 0;
    if (read_number(next_word(rest), each)) kib += each;
  }
  return kib * 1024;
}

uint64_t private_memory(int64_t pid) {
  return parse_private_memory(read_kernel_file(fmt::format("/proc/{}/status", pid), 8192));
}

std::string boot_id() {
  std::string id = read_kernel_file("/proc/sys/kernel/random/boot_id", 64);
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

ProcessName name_process(int64_t pid) {
  const auto stat = read_stat(pid);
  return {.pid = pid, .start_ticks = stat ? stat->start_ticks : 0};
}

net::Fd open_process(const ProcessName& name) {
  net::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(name.pid), 0)));
  // Asked after the descriptor is there, from when on it cannot be another's.
  if (process.valid() && name_process(name.pid) != name) return {};
  return process;
}

bool signal_process(const net::Fd& process, int signal) {
  return process.valid() &&
         ::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) == 0;
}

std::vector<int64_t> children_of(int64_t pid) {
  // Kernels may be built without (CONFIG_PROC_CHILDREN).
  static const bool kListed = ::access("/proc/thread-self/children", R_OK) == 0;
  std::vector<int64_t> out;
  for (const int64_t each : kListed ? std::vector<int64_t>() : all_processes()) {
    const auto stat = read_stat(each);
    if (stat && stat->parent == pid) out.push_back(each);
  }
  if (!kListed) return out;
  for (const int64_t thread : numbers_in(fmt::format("/proc/{}/task", pid))) {
    const std::string text =
        read_kernel_file(fmt::format("/proc/{}/task/{}/children", pid, thread));
    std::string_view rest = text;
    int64_t child = 0;
    while (read_number(next_word(rest), child)) out.push_back(child);
  }
  return out;
}

std::vector<int64_t> process_tree(int64_t pid) {
  std::vector<int64_t> out = {pid};
  for (size_t i = 0; i < out.size() && out.size() < kMaxTree; ++i) {
    for (const int64_t child : children_of(out[i])) out.push_back(child);
  }
  return out;
}

std::vector<int64_t> all_processes() { return numbers_in("/proc"); }

std::optional<Usage> tree_usage(const ProcessName& root) {
  if (name_process(root.pid) != root) return std::nullopt;
  Usage out;
  for (const int64_t pid : process_tree(root.pid)) {
    out.memory_bytes += private_memory(pid);
    if (const auto stat = read_stat(pid)) out.cpu_seconds += stat->cpu_seconds;
  }
  return out;
}

bool has_variable(int64_t pid, std::string_view name_and_value) {
  const std::string text =
      '\0' + read_kernel_file(fmt::format("/proc/{}/environ", pid), kMaxEnvironment);
  return text.find(fmt::format("{}{}{}", '\0', name_and_value, '\0')) != std::string::npos;
}

}  // namespace sluice::process
