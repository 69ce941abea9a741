#include "process/leftovers.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <string_view>
#include <vector>

#include "process/control_group.h"
#include "process/proc_info.h"
#include "process/program.h"

namespace sluice::process {
namespace {

constexpr int kRounds = 20;

class Leftovers {
 public:
  Leftovers(const std::string& token, const ReplicaState* state)
      : variable_(fmt::format("{}={}", kTokenVariable, token)), state_(state) {
    if (state_ != nullptr) group_ = ReplicaGroup::of_folders(state_->control_groups);
    if (state_ != nullptr && state_->boot != boot_id()) state_ = nullptr;
  }

  size_t kill_all() {
    size_t killed = 0;
    for (int round = 0; round < kRounds; ++round) {
      const size_t found = kill_once();
      killed += found;
      if (found == 0) break;
    }
    group_.remove();
    return killed;
  }

 private:
  size_t kill_once() {
    const std::vector<int64_t> grouped = group_.processes();
    const std::set<int64_t> in_group(grouped.begin(), grouped.end());
    size_t found = 0;
    for (const int64_t pid : all_processes()) {
      const auto stat = read_stat(pid);
      if (!stat || stat->state == 'Z' || pid == ::getpid()) continue;
      if (!in_group.contains(pid) && !is_of_session(*stat) && !has_variable(pid, variable_)) {
        continue;
      }
      // Of the process that was looked at, whatever has its number by now.
      const net::Fd process = open_process({.pid = pid, .start_ticks = stat->start_ticks});
      found += signal_process(process, SIGKILL) ? 1 : 0;
    }
    return found;
  }

  // A session's number is not given anew while it has members, and all of them are younger than the
  // keeper who made it.
  bool is_of_session(const ProcessStat& stat) const {
    return state_ != nullptr && stat.session == state_->keeper.pid &&
           stat.pid != state_->keeper.pid && stat.start_ticks >= state_->keeper.start_ticks;
  }

  const std::string variable_;
  const ReplicaState* state_;
  ReplicaGroup group_;
};

}  // namespace

size_t kill_leftovers(const std::string& token, const ReplicaState* state) {
  return Leftovers(token, state).kill_all();
}

}  // namespace sluice::process
