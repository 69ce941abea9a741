// `sluice keep`: the keeper of one replica, started by the platform (process/keeper.h).
#pragma once

#include <string>

namespace sluice::cli {

struct KeepOptions {
  std::string folder;
  int lock = -1;
};

// Runs until the replica has ended. Returns the process's exit status.
int run_keep(const KeepOptions& options);

}  // namespace sluice::cli
