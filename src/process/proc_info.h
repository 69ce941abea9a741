// What /proc tells of processes. All may change while it is asked; what is gone is nothing. Any
// thread. See proc(5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/socket.h"
#include "process/records.h"

namespace sluice::process {

// A file of /proc or /sys, whose size is not told before it is read; what cannot be read is empty.
std::string read_kernel_file(const std::string& path, size_t max_bytes = 64u << 10);

struct ProcessStat {
  int64_t pid = 0;
  char state = '?';  // 'Z': has ended, is still to be reaped
  int64_t parent = 0;
  int64_t group = 0;
  int64_t session = 0;
  uint64_t start_ticks = 0;
  double cpu_seconds = 0;  // its own and that of children that it has reaped
};

std::optional<ProcessStat> read_stat(int64_t pid);
// The text of /proc/PID/stat; the program's name in it may hold anything.
std::optional<ProcessStat> parse_stat(std::string_view text);

// Bytes that no file stands behind: anonymous memory, shared memory, and what was swapped out.
// Pages of mapped model files do not count. 0: unknown, or gone.
uint64_t private_memory(int64_t pid);
uint64_t parse_private_memory(std::string_view status_text);

// Of this start of the system; empty when it is not told.
std::string boot_id();
// Of a process that lives now; start_ticks 0: there is none.
ProcessName name_process(int64_t pid);

// A descriptor of that very process, which becomes readable when it ends; invalid when it is gone,
// or the number names another one by now.
net::Fd open_process(const ProcessName& name);
// False when it has ended.
bool signal_process(const net::Fd& process, int signal);

// The process and all below it that are not reaped, itself first.
std::vector<int64_t> process_tree(int64_t pid);
std::vector<int64_t> children_of(int64_t pid);
std::vector<int64_t> all_processes();

struct Usage {
  uint64_t memory_bytes = 0;  // private_memory() of all
  double cpu_seconds = 0;
};
// Of the process and all below it; nothing when it is gone.
std::optional<Usage> tree_usage(const ProcessName& root);

// Whether the environment that it was started with holds that one.
bool has_variable(int64_t pid, std::string_view name_and_value);

}  // namespace sluice::process
